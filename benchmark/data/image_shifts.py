"""Five visual domains of the same images, each made by a fixed function of the pixels.

Every function maps uint8 images `(n, height, width)` or `(n, height, width, 3)` to images of the same shape.
What is random in it is fixed: the permutation of patches is one for all images, and the noise of a row is
sampled from the row's own number, so that a row looks the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

GRID = 4
"""Patches along each side that the permutation moves."""
BLUR = 1 / 20
"""Deviation of the low-pass filter, as a share of the image's side."""
NOISE = 25.0
"""Deviation of the noise, of 255."""


def keep(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the images as they are."""
    return images


def negate_and_rotate_hue(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the negative with its hue rotated by a third of the circle: red to green to blue to red."""
    import numpy as np

    return np.ascontiguousarray(np.roll(255 - images, 1, axis=-1) if images.ndim == 4 else 255 - images)


def draw_edges(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return each channel's gradient length (Sobel), scaled so that the largest of an image is 255."""
    import numpy as np
    from scipy import ndimage

    values = images.astype(np.float32)
    # `ndimage.sobel` would smooth over rows of the batch and over channels too.
    slopes = []
    for across, along in ((1, 2), (2, 1)):
        smooth = ndimage.correlate1d(values, [1, 2, 1], axis=along)
        slopes.append(ndimage.correlate1d(smooth, [-1, 0, 1], axis=across))
    length = np.hypot(*slopes)
    largest = length.reshape(len(length), -1).max(1).reshape(-1, *[1] * (images.ndim - 1))
    return np.round(length * (255 / np.maximum(largest, 1e-6))).astype(np.uint8)


def permute_patches(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the images cut into 4 x 4 patches that all change places, the same way in every image.

    What a side that 4 does not divide leaves over at its end stays in place.
    """
    height, width = images.shape[1] // GRID, images.shape[2] // GRID
    moved = images.copy()
    for target, source in enumerate(derange(GRID * GRID)):
        (y, x), (v, u) = divmod(target, GRID), divmod(int(source), GRID)
        moved[:, y * height : (y + 1) * height, x * width : (x + 1) * width] = images[
            :, v * height : (v + 1) * height, u * width : (u + 1) * width
        ]
    return moved


def derange(count: int) -> np.ndarray:
    """Return one fixed permutation of `range(count)` that leaves nothing in its place."""
    import numpy as np

    generator = np.random.RandomState(0)
    order = generator.permutation(count)
    while (order == np.arange(count)).any():
        order = generator.permutation(count)
    return order


def blur_with_noise(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the images through a Gaussian low-pass filter, with Gaussian noise added."""
    import numpy as np
    from scipy import ndimage

    deviation = [0.0] * images.ndim
    deviation[1], deviation[2] = images.shape[1] * BLUR, images.shape[2] * BLUR
    smooth = ndimage.gaussian_filter(images.astype(np.float32), deviation)
    noise = np.stack([np.random.RandomState(int(row)).standard_normal(images.shape[1:]) for row in rows])
    return np.clip(np.round(smooth + NOISE * noise), 0, 255).astype(np.uint8)


DOMAINS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "clean": keep,
    "negative": negate_and_rotate_hue,
    "edges": draw_edges,
    "patches": permute_patches,
    "blurred": blur_with_noise,
}
"""By name, what makes a domain of images `(n, ...)` and their row numbers `(n,)`."""
