"""Visual domains: what each does to pixels, and which tasks need an adapter."""

import numpy as np
import pytest

from benchmark.data import image_shifts, outcomes
from benchmark.data.fingerprint import fingerprint_of
from benchmark.data.shown_images import ShownImages
from benchmark.errors import UserError
from benchmark.running.catalogue import load_stream
from benchmark.stream import Examples, Request
from tasks import shifts

IMAGES = np.random.RandomState(0).randint(0, 256, (3, 8, 8, 3)).astype(np.uint8)
ROWS = np.arange(3)


def asked(order: str = "1", seed: int = 0, **settings: object) -> Request:
    stream = load_stream("shifts")
    parameters = shifts.Parameters(**({"over": "digits"} | settings))
    return Request(order, seed, stream.protocols[stream.default_protocol], None, parameters)


@pytest.mark.parametrize("name", list(image_shifts.DOMAINS))
def test_a_domain_keeps_shape_and_type_and_gives_equal_rows_equal_pixels(name):
    shift = image_shifts.DOMAINS[name]
    for images in (IMAGES, IMAGES[..., 0]):
        shifted = shift(images, ROWS)
        assert shifted.shape == images.shape and shifted.dtype == np.uint8
        # Alone or among others, a row looks the same.
        assert np.array_equal(shift(images[1:2], ROWS[1:2]), shifted[1:2])


@pytest.mark.parametrize("name", list(image_shifts.DOMAINS))
def test_images_made_when_read_are_those_made_at_once(name):
    shown = ShownImages(IMAGES, ROWS, name)
    at_once = image_shifts.DOMAINS[name](IMAGES, ROWS)
    assert np.array_equal(shown[:], at_once) and np.array_equal(shown[1], at_once[1])
    chosen = shown[np.array([2, 0])]
    assert chosen.shape == (2, 8, 8, 3) and np.array_equal(chosen[:], at_once[[2, 0]])
    assert fingerprint_of(Examples(chosen)) == fingerprint_of(Examples(at_once[[2, 0]]))


def test_the_fingerprint_of_images_made_when_read_is_found_once(monkeypatch):
    shown = ShownImages(IMAGES, ROWS, "negative")
    first = outcomes.fingerprint_of(Examples(shown))
    monkeypatch.setitem(image_shifts.DOMAINS, "negative", lambda images, rows: 1 / 0)
    assert outcomes.fingerprint_of(Examples(ShownImages(IMAGES, ROWS, "negative"))) == first
    # Other images, other rows of noise and another domain are others.
    assert (
        len({ShownImages(IMAGES + i, ROWS + j, k).identity for i in (0, 1) for j in (0, 1) for k in "ab"})
        == 8
    )


def test_negative_moves_each_channel_to_the_next():
    pixel = np.array([[[[255, 0, 10]]]], np.uint8)
    # The negative is (0, 255, 245); red goes to green, green to blue, blue to red.
    assert image_shifts.negate_and_rotate_hue(pixel, ROWS[:1]).tolist() == [[[[245, 0, 255]]]]


def test_edges_of_an_even_image_are_none_and_of_a_step_lie_at_it():
    even = np.full((1, 8, 8), 90, np.uint8)
    assert not image_shifts.draw_edges(even, ROWS[:1]).any()
    step = even.copy()
    step[:, :, 4:] = 200
    edges = image_shifts.draw_edges(step, ROWS[:1])[0]
    # Sobel sees a step in the columns on both its sides.
    assert (edges[:, 3:5] == 255).all() and not edges[:, :3].any() and not edges[:, 5:].any()


def test_patches_all_move_and_none_is_lost():
    order = image_shifts.derange(16)
    assert sorted(order) == list(range(16)) and (order != np.arange(16)).all()
    numbered = np.arange(16, dtype=np.uint8).reshape(1, 4, 4).repeat(2, 1).repeat(2, 2)
    moved = image_shifts.permute_patches(numbered, ROWS[:1])
    assert moved[0, ::2, ::2].reshape(-1).tolist() == order.tolist()


def test_each_domain_has_two_tasks_of_which_the_first_needs_an_adapter():
    loaded = shifts.load(asked())
    domains = [task.name.split()[-1] for task in loaded.tasks]
    assert sorted(domains) == sorted([*image_shifts.DOMAINS] * 2)
    assert list(loaded.needs_adapter) == [domains.index(d) == i for i, d in enumerate(domains)]
    classes = [name for task in loaded.tasks for name in task.classes]
    assert len(classes) == len(set(classes)) == 10, "blocks of classes are disjoint"


def test_a_run_is_its_order_and_its_seed():
    first, again = shifts.load(asked("2", 3)), shifts.load(asked("2", 3))
    names = [[(task.name, task.classes) for task in loaded.tasks] for loaded in (first, again)]
    assert names[0] == names[1]
    others = {tuple(shifts.assign(10, order, seed)) for order in (1, 2) for seed in (0, 1)}
    assert len(others) == 4


def test_too_many_classes_and_other_kinds_of_streams_are_reported_in_one_line():
    with pytest.raises(UserError, match="has 10 classes; 10 tasks of 2 need 20: set classes to at most 1"):
        shifts.load(asked(classes=2))
    with pytest.raises(UserError, match="over=toy: a stream of images is expected, not one of kind vector"):
        shifts.load(asked(over="toy"))


def test_the_comparison_searches_and_learns_other_rows_than_it_reports():
    protocol = load_stream("shifts").protocols["standard"]
    assert protocol.search is not None and protocol.search.orders == ("20",)
    # The sample has 120 train rows of each of two classes: 72 of 240 are held out, 80 of the rest learned.
    held = round(protocol.validation * 240)
    assert held == 72 and 240 - held >= (protocol.train_limit or 0)
    assert load_stream("shifts").published["standard"] == {"over": "cifar100", "classes": 2}
