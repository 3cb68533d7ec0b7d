"""vit-b16-in21k-ft-in1k: ViT-B/16, trained on ImageNet-21k and fine-tuned on ImageNet-1k.

SD-LoRA and LiteLoRA load timm's `augreg2_in21k_ft_in1k` weights, which have no transformers port under a
verified id; these are the original weights of the same architecture and the same two data sets.
"""

from benchmark.models.backbone import Backbone

BACKBONE = Backbone(kind="image", licence="Apache-2.0", hub_id="google/vit-base-patch16-224", recalled=True)
