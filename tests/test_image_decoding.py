"""pytest tests/test_image_decoding.py"""

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.data.image_decoding import fill
from benchmark.errors import UserError
from tests.image_files import colours, encoded, save


def decode(images, side, size, source="set.parquet"):
    array = np.zeros((len(images), side, side, 3), np.uint8)
    fill(array, images, size, source)
    return array


def test_the_centre_of_the_longer_side_is_kept(tmp_path):
    # 6 wide, 2 high, column c has red 10 c. At size 2 nothing is resized; of 6 columns (6 - 2) / 2 = 2 are
    # cut off on either side, so columns 2 and 3 stay.
    pixels = np.zeros((2, 6, 3), np.uint8)
    pixels[..., 0] = 10 * np.arange(6)
    path = tmp_path / "wide.png"
    PIL.Image.fromarray(pixels).save(path)
    assert decode([path], side=2, size=2)[0, :, :, 0].tolist() == [[20, 30], [20, 30]]
    tall = tmp_path / "tall.png"
    PIL.Image.fromarray(pixels.transpose(1, 0, 2)).save(tall)
    assert decode([tall], side=2, size=2)[0, :, :, 0].tolist() == [[20, 20], [30, 30]]


def test_a_size_above_the_side_cuts_a_border_off(tmp_path):
    # The published 256 and 224 on a smaller scale: of 8 x 8 pixels the middle 6 x 6 stay.
    pixels = np.random.RandomState(0).randint(0, 256, (8, 8, 3)).astype(np.uint8)
    path = tmp_path / "square.png"
    PIL.Image.fromarray(pixels).save(path)
    assert np.array_equal(decode([path], side=6, size=8)[0], pixels[1:7, 1:7])


def test_resizing_is_bicubic_to_the_shorter_side(tmp_path):
    # 10 x 7 at size 5: the longer side becomes int(10 * 5 / 7) = 7, of which (7 - 5) / 2 = 1 goes on either
    # side.
    pixels = np.random.RandomState(1).randint(0, 256, (7, 10, 3)).astype(np.uint8)
    path = tmp_path / "any.png"
    PIL.Image.fromarray(pixels).save(path)
    resized = PIL.Image.fromarray(pixels).resize((7, 5), PIL.Image.Resampling.BICUBIC)
    assert np.array_equal(decode([path], side=5, size=5)[0], np.asarray(resized)[:, 1:6])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 6), st.integers(0, 255))
def test_one_colour_stays_one_colour_at_any_size(width, height, side, border, colour):
    assert colours(decode([encoded(colour, (width, height))], side, side + border)) == [colour]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    PIL.Image.new("L", (4, 4), 255).convert(mode).save(path)
    assert (decode([path], 4, 4) == 255).all()


def test_bytes_and_paths_are_read_in_order(tmp_path):
    assert colours(decode([encoded(3), save(tmp_path / "a.png", 4), encoded(5)], 4, 4)) == [3, 4, 5]


def test_images_are_opened_one_at_a_time():
    array = np.zeros((3, 4, 4, 3), np.uint8)

    def images():
        for row in range(3):
            # Every earlier row is finished and no later one begun.
            assert colours(array[:row]) == [7] * row and not array[row:].any()
            yield encoded(7)

    fill(array, images(), 4)


def test_unreadable_images_are_named_with_their_row(tmp_path):
    whole = save(tmp_path / "good.jpg", 1, (64, 64))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:200])
    text = tmp_path / "text.png"
    text.write_text("no image")
    for broken, name in ((cut, "cut.jpg"), (text, "text.png"), (tmp_path / "gone.png", "gone.png")):
        with pytest.raises(UserError, match=f"{name}, row 1: ") as caught:
            decode([whole, broken], 4, 4)
        assert "\n" not in str(caught.value)
    for broken in (b"", encoded(1)[:40], whole.read_bytes()[:200]):
        with pytest.raises(UserError, match=r"^set.parquet, row 2: not a readable image"):
            decode([encoded(1), encoded(1), broken], 4, 4)


def test_an_image_that_would_fill_memory_is_refused(monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UserError, match="row 0: not a readable image"):
        decode([encoded(1, (50, 50))], 4, 4)


def test_array_and_images_must_fit():
    for count in (1, 3):
        with pytest.raises(ValueError, match="2 rows"):
            fill(np.zeros((2, 4, 4, 3), np.uint8), [encoded(1)] * count, 4)
    with pytest.raises(ValueError, match="squares"):
        fill(np.zeros((1, 4, 5, 3), np.uint8), [encoded(1)], 8)
    with pytest.raises(ValueError, match="squares"):
        fill(np.zeros((1, 4, 4, 3), np.uint8), [encoded(1)], 3)
