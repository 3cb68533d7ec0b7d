"""vit-nano: a small ViT for 16x16 images, pretrained on Omniglot glyphs; bundled, needs no download."""

from pathlib import Path

from benchmark.models.backbone import Backbone


def folder() -> Path:
    """Return the bundled weights."""
    return Path(__file__).parent / "weights" / "vit-nano"


BACKBONE = Backbone(kind="image", licence="MIT", folder=folder)
