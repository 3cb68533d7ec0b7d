"""What the feature of an image model is: its class token, its pooled output, or the mean of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from benchmark.errors import UserError
from benchmark.models.pretrained_model import try_out

if TYPE_CHECKING:
    from torch import Tensor, nn

Pooling = Literal["first", "mean", "pooled"]
CLASS_TOKENS = ("cls_token", "class_embedding", "class_token")
DESCRIBED: dict[str, str] = {
    "first": "class token",
    "mean": "mean of tokens",
    "pooled": "the model's pooled output",
}


def choose_pooling(module: nn.Module, size: int, source: str) -> tuple[Pooling, int]:
    """Return how a model's answer becomes a feature, and the feature's width, from one blank image.

    Args:
        module: an image model.
        size: side of its images in pixels.
        source: where it came from, for messages.

    Raises:
        UserError: it cannot run, or gives neither tokens nor a pooled output.
    """
    import torch

    channels = getattr(getattr(module, "config", None), "num_channels", 3)
    answered = try_out(module, {"pixel_values": torch.zeros(1, channels, size, size)}, source)
    pooling: Pooling | None = None
    hidden = getattr(answered, "last_hidden_state", None)
    if hidden is not None and hidden.dim() == 3 and _has_class_token(module):
        pooling = "first"
    elif getattr(answered, "pooler_output", None) is not None:
        pooling = "pooled"
    elif hidden is not None:
        pooling = "mean"
    if pooling is None:
        raise UserError(
            f"the backbone '{source}' ({type(module).__name__}) gives neither tokens nor a pooled output, "
            "so it has no features to classify by"
        )
    return pooling, image_feature(answered, pooling).shape[1]


def image_feature(answered: Any, pooling: str) -> Tensor:
    """Return one feature a row, `(n, width)`, of an image model's answer."""
    if pooling == "pooled":
        return answered.pooler_output.flatten(1)
    return pool_tokens(answered.last_hidden_state, pooling)


def pool_tokens(hidden: Tensor, pooling: str) -> Tensor:
    """Return one feature a row of tokens `(n, length, width)`, or of a map `(n, width, height, width)`."""
    if hidden.dim() == 4:
        return hidden.mean((2, 3))
    return hidden[:, 0] if pooling == "first" else hidden.mean(1)


def _has_class_token(module: nn.Module) -> bool:
    return any(name.split(".")[-1] in CLASS_TOKENS for name, _ in module.named_parameters())
