"""flan-t5-large: Flan-T5-large, instruction-tuned T5."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(kind="seq2seq", licence="Apache-2.0", hub_id="google/flan-t5-large", recalled=True)
