"""t5-small: T5-small, 60 M parameters, encoder and decoder."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(kind="seq2seq", licence="Apache-2.0", hub_id="google-t5/t5-small", recalled=True)
