"""vit-b16: ViT-B/16, trained on ImageNet-21k and fine-tuned on ImageNet-1k."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(kind="image", licence="Apache-2.0", hub_id="google/vit-base-patch16-224", recalled=True)
