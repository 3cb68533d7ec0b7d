"""vit-b16-in21k: ViT-B/16, trained on ImageNet-21k."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(
    kind="image", licence="Apache-2.0", hub_id="google/vit-base-patch16-224-in21k", recalled=True
)
