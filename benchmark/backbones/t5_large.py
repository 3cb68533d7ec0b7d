"""t5-large: T5-large, 740 M parameters, the backbone of the O-LoRA and SAPT tables."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(kind="seq2seq", licence="Apache-2.0", hub_id="google-t5/t5-large", recalled=True)
