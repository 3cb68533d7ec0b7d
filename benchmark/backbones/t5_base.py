"""t5-base: T5-base, 220 M parameters, encoder and decoder."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(kind="seq2seq", licence="Apache-2.0", hub_id="google-t5/t5-base", recalled=True)
