"""llama-3.2-1b: Llama 3.2, 1 B parameters (gated: accept the licence on the hub first)."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(
    kind="causal", licence="Llama 3.2 Community License", hub_id="meta-llama/Llama-3.2-1B", recalled=True
)
