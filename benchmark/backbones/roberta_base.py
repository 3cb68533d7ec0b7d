"""roberta-base: RoBERTa-base, 125 M parameters."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(kind="encoder", licence="MIT", hub_id="FacebookAI/roberta-base", recalled=True)
