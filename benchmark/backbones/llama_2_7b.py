"""llama-2-7b: Llama 2, 7 B parameters (gated: accept the licence on the hub first)."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(
    kind="causal", licence="Llama 2 Community License", hub_id="meta-llama/Llama-2-7b-hf", recalled=True
)
