"""bert-base: BERT-base uncased, 110 M parameters."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(
    kind="encoder", licence="Apache-2.0", hub_id="google-bert/bert-base-uncased", recalled=True
)
