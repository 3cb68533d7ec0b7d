"""Images to tensors: resizing once, normalising and augmenting per batch, in torch alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.data.mapped_rows import MappedImages


@dataclass(frozen=True)
class ImageSettings:
    """What an image backbone expects: side in pixels, mean and deviation per channel, values in 0..1."""

    size: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5)


def read_settings(folder: Path, size: int) -> ImageSettings:
    """Return the settings in a backbone's `preprocessor_config.json`, or (0.5, 0.5) where it has none."""
    path = folder / "preprocessor_config.json"
    if not path.exists():
        return ImageSettings(size)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return ImageSettings(size, tuple(config["image_mean"]), tuple(config["image_std"]))
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} does not name image_mean and image_std: {error}") from None


def read(images: np.ndarray | MappedImages, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the images of the given rows, as they are stored, as an array in memory."""
    chosen = images[np.asarray(rows, np.int64)]
    return chosen if isinstance(chosen, np.ndarray) else chosen[:]


def resize(images: np.ndarray, size: int) -> Tensor:
    """Return `(n, 3, size, size)` uint8 from `(n, h, w)` or `(n, h, w, 3)` uint8; grey is repeated.

    Smaller targets are reached by area averaging, larger ones by bilinear interpolation.
    """
    return _scale(images, size).expand(-1, 3, -1, -1).contiguous()


def resize_stored(images: np.ndarray, size: int) -> np.ndarray:
    """Return images resized as by `resize`, but as they came: `(n, size, size)` or `(n, size, size, 3)`."""
    scaled = _scale(images, size)
    return (scaled[:, 0] if images.ndim == 3 else scaled.permute(0, 2, 3, 1)).numpy()


def _scale(images: np.ndarray, size: int) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    pixels = pixels[:, None] if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2)
    if pixels.shape[-1] == size and pixels.shape[-2] == size:
        return pixels
    mode = "bilinear" if size > pixels.shape[-1] else "area"
    scaled = functional.interpolate(pixels.float(), (size, size), mode=mode)
    return scaled.round().clamp(0, 255).to(torch.uint8)


def normalise(pixels: Tensor, settings: ImageSettings) -> Tensor:
    """Return (pixels - mean) / deviation for `(n, 3, h, w)` in 0..1."""
    mean = torch.tensor(settings.mean).view(1, -1, 1, 1)
    return (pixels - mean) / torch.tensor(settings.deviation).view(1, -1, 1, 1)


def augment(pixels: Tensor, kind: str, least_area: float) -> Tensor:
    """Return randomly cropped, and for `crop-flip` mirrored, images of the same size.

    The crop is torchvision's RandomResizedCrop: `least_area` (PILOT: 5 %) to 100 % of the image, aspect 3/4
    to 4/3, sampled log-uniformly per image. A crop that would leave the image is shrunk to it, not sampled
    again.
    """
    if kind == "none":
        return pixels
    count = len(pixels)
    area = torch.empty(count).uniform_(least_area, 1.0)
    ratio = torch.exp(torch.empty(count).uniform_(-1, 1) * float(np.log(4 / 3)))
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    centre_x = (torch.rand(count) * 2 - 1) * (1 - width)
    centre_y = (torch.rand(count) * 2 - 1) * (1 - height)
    flip = torch.where(torch.rand(count) < 0.5, -1.0, 1.0) if kind == "crop-flip" else torch.ones(count)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = width * flip, centre_x
    theta[:, 1, 1], theta[:, 1, 2] = height, centre_y
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
