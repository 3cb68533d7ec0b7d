"""smollm2-135m-instruct: SmolLM2, 135 M parameters, instruction-tuned."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(
    kind="causal",
    licence="Apache-2.0",
    hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    recalled=True,
    instead="smollm2-135m-instruct-q4",
)
