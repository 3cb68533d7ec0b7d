"""Resizing, normalising and augmenting against pictures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.data.images import ImageSettings, augment, normalise, resize


def test_smaller_images_are_area_means_and_larger_ones_bilinear() -> None:
    picture = np.array([[[0, 100, 10, 10], [100, 200, 10, 10], [0, 0, 255, 255], [0, 0, 255, 255]]], np.uint8)
    # Means of the four quarters: (0 + 100 + 100 + 200) / 4 = 100, 10, 0, 255; grey is repeated.
    assert resize(picture, 2).tolist() == [[[[100, 10], [0, 255]]] * 3]
    line = np.array([[[0, 100], [0, 100]]], np.uint8)
    # Twice as large: centres at 1/4 and 3/4 between the two pixels.
    assert resize(line, 4)[0, 0, 0].tolist() == [0, 25, 75, 100]
    assert resize(line, 2)[0, 0].tolist() == line[0].tolist()


def test_colour_channels_come_first_and_are_normalised_apart() -> None:
    picture = np.zeros((1, 2, 2, 3), np.uint8)
    picture[..., 1] = 9
    assert resize(picture, 2)[0, :, 0, 0].tolist() == [0, 9, 0]
    settings = ImageSettings(1, (0.0, 0.5, 1.0), (1.0, 0.5, 0.25))
    pixels = torch.full((1, 3, 1, 1), 0.5)
    assert normalise(pixels, settings).flatten().tolist() == [0.5, 0.0, -2.0]


@pytest.mark.parametrize("kind", ["crop", "crop-flip"])
def test_augmented_images_keep_shape_and_range_and_follow_the_seed(kind: str) -> None:
    pixels = torch.rand(16, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(augment(pixels, kind, 0.05))
    assert drawn[0].shape == pixels.shape and drawn[0].min() >= 0 and drawn[0].max() <= 1 + 1e-6
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(augment(pixels, "none", 0.05), pixels)


def test_flipping_mirrors_about_half_of_the_images() -> None:
    # Brightness grows from left to right; a mirrored crop of it falls.
    slope = torch.linspace(0, 1, 12).expand(400, 3, 12, 12)
    torch.manual_seed(0)
    rising = [
        (x[..., -1] - x[..., 0]).mean((1, 2)) > 0
        for x in (augment(slope, "crop-flip", 0.05), augment(slope, "crop", 0.05))
    ]
    # 200 +- 4 standard errors, sqrt(400 / 4) = 10 each.
    assert abs(rising[0].sum().item() - 200) < 40
    assert rising[1].all()


def test_a_crop_keeps_at_least_the_asked_share_of_the_image() -> None:
    # Brightness 0 to 1 from left to right: what a crop spans tells its width. A crop of 81 % of the area, of
    # aspect 3/4, is sqrt(0.81 * 3/4) = 0.78 wide; of 1 % it may be 0.09.
    slope = torch.linspace(0, 1, 200).expand(300, 3, 200, 200)
    torch.manual_seed(0)
    spans = [
        (x[..., -1] - x[..., 0]).mean((1, 2)).min().item()
        for x in (augment(slope, "crop", 0.81), augment(slope, "crop", 0.01))
    ]
    assert spans[0] > 0.75 > 0.3 > spans[1]
