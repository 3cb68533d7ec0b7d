"""qwen3-0.6b: Qwen3, 0.6 B parameters."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(kind="causal", licence="Apache-2.0", hub_id="Qwen/Qwen3-0.6B", recalled=True)
