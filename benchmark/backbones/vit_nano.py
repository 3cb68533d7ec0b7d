"""vit-nano: a small ViT for 16x16 images, pretrained on Omniglot glyphs; bundled, needs no download."""

from pathlib import Path

from benchmark.models.backbone import Backbone


def folder() -> Path:
    """Return the bundled weights."""
    return Path(__file__).parent / "weights" / "vit-nano"


BACKBONE = Backbone(
    kind="image",
    licence="MIT",
    folder=folder,
    weights_hash="524fc6886f1acffb19d60d035a31868a439eaa3bdd0bb4efbfc8e35c7c439062",
)
