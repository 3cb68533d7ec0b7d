"""dinov2-small: DINOv2 ViT-S/14, 22 M parameters, self-supervised; used at 224 pixels."""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(
    kind="image",
    licence="Apache-2.0",
    hub_id="facebook/dinov2-small",
    recalled=True,
    image_size=224,
    instead="dinov2-small-saliency",
)
