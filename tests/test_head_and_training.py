"""Head, losses, batches, training loop, decoding and images against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.batches import JoinedRows, TokenRows, VectorRows, by_length, shuffled
from benchmark.errors import UserError
from benchmark.head import GrowingHead
from benchmark.images import ImageSettings, augment, normalise, resize
from benchmark.method import ParameterGroup, Phase
from benchmark.objective import ClassificationObjective, make_objective
from benchmark.stream import Examples, Task
from benchmark.text_objective import TextObjective
from benchmark.training import rate_factor, train
from tests import tiny

# --- the head


def test_growing_keeps_old_rows_and_their_outputs() -> None:
    torch.manual_seed(0)
    head, features = GrowingHead(3), torch.randn(4, 3)
    head.grow(2, features)
    before, blocks = head(features), [weight.data_ptr() for weight in head.weights]
    head.grow(0, features)
    head.grow(3, features)
    assert len(head) == 5 and head(features).shape == (4, 5)
    assert torch.equal(head(features)[:, :2], before)
    assert head.weights[0].data_ptr() == blocks[0]
    # Uniform of gain 1: bound sqrt(3 / fan_in) = 1 for 3 features; biases start at zero.
    assert head.weights[1].abs().max() <= 1 and head.biases[1].tolist() == [0, 0, 0]


def test_train_only_frees_the_blocks_that_hold_a_wanted_column() -> None:
    head, like = GrowingHead(2), torch.zeros(1)
    for count in (2, 1, 3):  # columns 0-1, 2, 3-5
        head.grow(count, like)
    head.train_only([1, 3])
    assert [bias.requires_grad for bias in head.biases] == [True, False, True]
    assert [tuple(p.shape) for p in head.trainable()] == [(2, 2), (3, 2), (2,), (3,)]


def test_head_restores_its_blocks() -> None:
    head, again = GrowingHead(2), GrowingHead(2)
    for count in (2, 1):
        head.grow(count, torch.zeros(1))
    again.restore(head.state(), torch.device("cpu"))
    assert tiny.same(again.state(), head.state())
    again.grow(1, torch.zeros(1))
    assert len(again) == 4


# --- classes, columns and losses


def plain_task(name: str, classes: tuple[str, ...]) -> Task:
    count = 2 * len(classes)
    inputs = np.zeros((count, 48), dtype=np.float32)
    rows = Examples(inputs, np.arange(count) % len(classes), None, [str(i) for i in range(count)])
    return Task(name, rows, rows, classes=classes)


def objective(tasks: list[Task], **changes: Any) -> ClassificationObjective:
    """Return an objective whose logits a test sets: rows of `x` are taken as logits of all classes seen."""
    made = make_objective(tiny.backbone("vector"), tasks, tiny.protocol("vector", **changes))
    assert isinstance(made, ClassificationObjective)
    made.logits = lambda batch: batch.inputs["x"][:, : len(made.head)]
    return made


FRUIT = [plain_task("one", ("apple", "pear")), plain_task("two", ("plum", "fig"))]


def batch(logits: list[list[float]], labels: list[int]) -> Any:
    return VectorRows(torch.tensor(logits), torch.tensor(labels)).batch(list(range(len(labels))))


def test_local_loss_uses_the_current_logits_alone() -> None:
    made = objective(FRUIT)
    made.begin_task([0])
    made.begin_task([1])
    loss = made.loss(batch([[9.0, -9.0, 0.0, math.log(3)]], [2]))
    # softmax of (0, ln 3) is (1/4, 3/4); the label is the first: -ln(1/4).
    assert math.isclose(loss.item(), math.log(4), rel_tol=1e-6)


def test_full_loss_uses_all_logits_seen_and_trains_all_rows() -> None:
    made = objective(FRUIT, loss="full")
    made.begin_task([0])
    made.begin_task([1])
    loss = made.loss(batch([[math.log(2), 0.0, 0.0, math.log(4)]], [2]))
    # softmax weights 2, 1, 1, 4: the label has 1/8.
    assert math.isclose(loss.item(), math.log(8), rel_tol=1e-6)
    assert all(parameter.requires_grad for parameter in made.head.parameters())


def test_class_incremental_answers_over_all_classes_seen() -> None:
    made = objective(FRUIT)
    logits = [[1.0, 0.0, 5.0, 9.0]]
    made.begin_task([0])
    assert made.predict(batch(logits, [0])) == [0]
    made.begin_task([1])
    assert made.predict(batch(logits, [0])) == [3]


def test_task_incremental_answers_within_the_task() -> None:
    made = objective(FRUIT)
    made.begin_task([0])
    # A task not learned yet has no logits to choose from; the answer is wrong, not an error.
    assert made.predict(batch([[1.0, 2.0]], [0]), 1) == [0]
    made.begin_task([1])
    logits = batch([[1.0, 2.0, 8.0, 9.0], [2.0, 1.0, 9.0, 8.0]], [0, 0])
    assert made.predict(logits, 0) == [1, 0]
    assert made.predict(logits, 1) == [3, 2]


def test_classes_of_one_name_share_a_row() -> None:
    made = objective([plain_task("one", ("pear", "apple")), plain_task("two", ("apple", "fig"))])
    assert made.columns == {"pear": 0, "apple": 1, "fig": 2}
    made.begin_task([0])
    made.begin_task([1])
    assert len(made.head) == 3 and made.current == [1, 2]
    rows = made.encode(made.tasks[1], made.tasks[1].train)
    assert rows.batch([0, 1, 2, 3]).labels.tolist() == [1, 2, 1, 2]
    assert made.references(made.tasks[1], made.tasks[1].test) == [1, 2, 1, 2]
    # Label apple, local loss over (apple, fig) = (0, ln 3).
    assert math.isclose(made.loss(batch([[7.0, 0.0, math.log(3)]], [1])).item(), math.log(4), rel_tol=1e-6)


def test_domain_incremental_never_grows_the_head_again() -> None:
    made = objective([plain_task("one", ("yes", "no")), plain_task("two", ("yes", "no"))])
    made.begin_task([0])
    size = made.head_size()
    made.begin_task([1])
    assert made.head_size() == size == 2 * 16 + 2
    assert all(parameter.requires_grad for parameter in made.head.parameters())


# --- the training loop


def phase(loss: Any, parameter: nn.Parameter, **changes: Any) -> Phase:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 2, "optimizer": "sgd", **changes}
    return Phase("adapt", [ParameterGroup([parameter], 0.1)], loss, **settings)


def five_rows() -> VectorRows:
    return VectorRows(torch.arange(5.0)[:, None], torch.zeros(5, dtype=torch.int64))


def test_loss_that_is_not_finite_names_step_and_phase() -> None:
    method = tiny.make_method("frozen", "vector")
    parameter, calls = nn.Parameter(torch.zeros(())), []

    def loss(_: Any) -> Tensor:
        calls.append(1)
        return parameter * (float("nan") if len(calls) == 4 else 1.0)

    # Five rows in twos are three steps an epoch, six in all.
    with pytest.raises(UserError, match=r"the loss became nan at step 4 of 6 of phase 'adapt'"):
        train(method, phase(loss, parameter), five_rows(), (0,), lambda share: None)


def test_a_run_of_steps_worked_by_hand() -> None:
    method = tiny.make_method("frozen", "vector")
    parameter, shares = nn.Parameter(torch.tensor(1.0)), []
    steps = train(
        method,
        phase(lambda _: 3 * parameter, parameter, milestones=(0.5,), factor=0.5),
        five_rows(),
        (0,),
        shares.append,
    )
    # Slope 3, rate 0.1 in the first epoch and 0.05 in the second, three steps each: 1 - 3 * 3 * 0.15.
    assert steps == 6 and math.isclose(parameter.item(), 1 - 1.35, abs_tol=1e-6)
    assert shares == [n / 6 for n in range(1, 7)]


def test_gradient_is_clipped_to_its_largest_norm() -> None:
    method = tiny.make_method("frozen", "vector")
    parameter = nn.Parameter(torch.zeros(2))
    slopes = torch.tensor([3.0, 4.0])
    one = phase(lambda _: (slopes * parameter).sum(), parameter, epochs=1, batch_size=5, clip=1.0)
    train(method, one, five_rows(), (0,), lambda share: None)
    # (3, 4) has norm 5; clipped to (0.6, 0.8), times the rate 0.1.
    assert torch.allclose(parameter, torch.tensor([-0.06, -0.08]), atol=1e-6)


def test_rate_factor_of_milestones_and_cosine() -> None:
    parameter = nn.Parameter(torch.zeros(()))
    stepped = phase(None, parameter, epochs=5, milestones=(0.6, 0.8), factor=0.5)
    assert [rate_factor(stepped, epoch) for epoch in range(5)] == [1, 1, 1, 0.5, 0.25]
    # Of a single epoch nothing has passed when it begins.
    assert rate_factor(phase(None, parameter, epochs=1, milestones=(0.6, 0.8), factor=0.5), 0) == 1
    smooth = phase(None, parameter, epochs=4, schedule="cosine-by-epoch")
    # (1 + cos(pi e / 4)) / 2 at e = 0 .. 3.
    expected = [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]
    assert np.allclose([rate_factor(smooth, epoch) for epoch in range(4)], expected)
    by_step = phase(None, parameter, epochs=4, schedule="cosine")
    assert np.allclose([rate_factor(by_step, 0, done / 4) for done in range(4)], expected)
    straight = phase(None, parameter, epochs=4, schedule="linear", milestones=(0.5,), factor=0.5)
    # 1 - 0, and after half of the epochs half of 1 - 1/2.
    assert [rate_factor(straight, 0, 0.0), rate_factor(straight, 2, 0.5)] == [1.0, 0.25]


def test_a_linear_schedule_moves_with_every_step() -> None:
    method, parameter = tiny.make_method("frozen", "vector"), nn.Parameter(torch.zeros(()))
    falling = phase(lambda _: parameter, parameter, epochs=1, batch_size=1, schedule="linear")
    train(method, falling, five_rows(), (0,), lambda share: None)
    # Gradient 1, rate 0.1, five steps: -0.1 (1 + 4/5 + 3/5 + 2/5 + 1/5) = -0.3.
    assert torch.allclose(parameter, torch.tensor(-0.3))


def test_the_order_of_rows_follows_the_place() -> None:
    method, parameter = tiny.make_method("frozen", "vector"), nn.Parameter(torch.zeros(()))
    seen: list[list[int]] = []
    watched = phase(lambda rows: seen.append(rows.rows) or parameter.square(), parameter, epochs=1)
    for place in [(0, 1), (0, 1), (1, 1)]:
        train(method, watched, five_rows(), place, lambda share: None)
    assert seen[:3] == seen[3:6] != seen[6:]


def test_every_row_is_seen_once_an_epoch_in_an_order_of_the_seed() -> None:
    orders = [list(shuffled(7, 3, torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert [len(chosen) for chosen in orders[0]] == [3, 3, 1]
    assert sorted(row for chosen in orders[0] for row in chosen) == list(range(7))


# --- batches


def test_longest_rows_come_first_and_together() -> None:
    rows = TokenRows([[1], [1, 2, 3], [1, 2], [4, 5, 6]], pad=0)
    assert list(by_length(rows, 2)) == [[1, 3], [2, 0]]


def test_joined_rows_keep_their_parts_order_and_pad_to_one_size() -> None:
    first = TokenRows([[7, 7], [8]], 0, torch.tensor([0, 1]))
    second = TokenRows([[9, 9, 9]], 0, torch.tensor([2]))
    joined = JoinedRows([first, second])
    assert len(joined) == 3 and [joined.length(row) for row in range(3)] == [2, 1, 3]
    taken = joined.batch([2, 1, 0])
    assert taken.rows == [1, 0, 2]
    assert taken.inputs["input_ids"].tolist() == [[8, 0, 0], [7, 7, 0], [9, 9, 9]]
    assert taken.inputs["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert taken.labels.tolist() == [1, 0, 2]
    with pytest.raises(IndexError):
        joined.batch([3])


def test_joined_answers_are_padded_with_what_asks_nothing() -> None:
    parts = [TokenRows([[7]], 0, None, [[5]]), TokenRows([[8]], 0, None, [[6, 6, 6]])]
    assert JoinedRows(parts).batch([0, 1]).targets.tolist() == [[5, -100, -100], [6, 6, 6]]


def test_seq2seq_batch_pads_on_the_right() -> None:
    taken = TokenRows([[7, 8], [9]], 0, None, [[5, 6], [4]]).batch([0, 1], training=True)
    assert taken.inputs["input_ids"].tolist() == [[7, 8], [9, 0]]
    assert taken.targets.tolist() == [[5, 6], [4, -100]]


def test_causal_training_batch_asks_for_the_answer_alone() -> None:
    rows = TokenRows([[7, 8], [9]], 0, None, [[5, 6], [4]], causal=True)
    taken = rows.batch([0, 1], training=True)
    assert taken.inputs["input_ids"].tolist() == [[7, 8, 5, 6], [0, 0, 9, 4]]
    assert taken.inputs["attention_mask"].tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    assert taken.targets.tolist() == [[-100, -100, 5, 6], [-100, -100, -100, 4]]
    asked = rows.batch([0, 1])
    assert asked.inputs["input_ids"].tolist() == [[7, 8], [0, 9]]
    assert asked.inputs["attention_mask"].tolist() == [[1, 1], [0, 1]]


# --- answers in words


def text_objective(kind: str, **changes: Any) -> TextObjective:
    made = make_objective(tiny.backbone(kind), tiny.tasks(kind), tiny.protocol(kind, **changes))
    assert isinstance(made, TextObjective)
    return made


def mean_log_likelihood(made: TextObjective, prompt: list[int], answer: list[int]) -> float:
    """Return it for one row without padding, one token at a time."""
    module, total = made.backbone.module, 0.0
    for place, token in enumerate(answer):
        if made.causal:
            out = module(input_ids=torch.tensor([prompt + answer[:place]])).logits
        else:
            start = [made.backbone.module.config.decoder_start_token_id]
            out = module(
                input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([start + answer[:place]])
            ).logits
        total += functional.log_softmax(out[0, -1], -1)[token].item()
    return total / len(answer)


@pytest.mark.parametrize("kind", ["seq2seq", "causal"])
def test_label_decoding_picks_the_highest_mean_log_likelihood(kind: str) -> None:
    made = text_objective(kind)
    made.begin_task([0, 1])  # four of the six labels, of one and of two words
    rows = made.encode(made.tasks[0], made.tasks[0].test)
    labels, prompts = list(made.columns), rows.prompts[:5]
    with torch.no_grad():
        scores = np.array([[mean_log_likelihood(made, p, made.answer(x)) for x in labels] for p in prompts])
        ours = [made._log_likelihood(rows.batch(range(5)), made.answer(x)) for x in labels]
    assert np.allclose(torch.stack(ours, 1), scores, atol=1e-4)
    assert made.predict(rows.batch(range(5))) == [labels[best] for best in scores[:, :4].argmax(1)]
    # Given the task, only its own labels compete: here the last two, not seen yet.
    assert made.predict(rows.batch(range(5)), 2) == [labels[4 + best] for best in scores[:, 4:].argmax(1)]


def test_causal_generation_continues_the_prompt() -> None:
    made = text_objective("causal", decoding="greedy", target_length=3)
    rows = made.encode(made.tasks[0], made.tasks[0].test)
    expected = []
    for prompt in rows.prompts[:4]:
        ids = list(prompt)
        for _ in range(3):
            with torch.no_grad():
                ids.append(made.backbone.module(input_ids=torch.tensor([ids])).logits[0, -1].argmax().item())
            if ids[-1] == made.backbone.tokenizer.eos_token_id:
                break
        written = made.backbone.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
        expected.append(written.strip())
    assert len({len(prompt) for prompt in rows.prompts[:4]}) > 1  # so that some rows are padded
    assert made.predict(rows.batch(range(4))) == expected


@pytest.mark.parametrize("kind", ["seq2seq", "causal"])
def test_loss_is_the_mean_over_the_answers_tokens(kind: str) -> None:
    made = text_objective(kind)
    rows = made.encode(made.tasks[0], made.tasks[0].train)
    chosen = [0, len(rows) - 1]  # labels of one and of two words
    lengths = [len(rows.targets[row]) for row in chosen]
    assert lengths == [2, 3]  # with the end token
    with torch.no_grad():
        means = [mean_log_likelihood(made, rows.prompts[row], rows.targets[row]) for row in chosen]
        loss = made.loss(rows.batch(chosen, training=True)).item()
    assert math.isclose(loss, -(2 * means[0] + 3 * means[1]) / 5, rel_tol=1e-4)


def test_free_text_accepts_every_reference_and_learns_the_first() -> None:
    made = make_objective(tiny.backbone("seq2seq"), tiny.free_tasks(), tiny.protocol("seq2seq"))
    assert isinstance(made, TextObjective)
    task = made.tasks[0]
    rows = made.encode(task, task.train)
    assert rows.targets[0] == made.answer("red") and made.metric(task) == "rouge-l"
    assert made.references(task, task.test)[0] == ["red", "not round"]
    assert all(isinstance(text, str) for text in made.predict(rows.batch([0, 1])))


def test_answers_are_cut_and_closed() -> None:
    made = text_objective("seq2seq", target_length=3)
    end = made.backbone.tokenizer.eos_token_id
    words = made.backbone.tokenizer("very very very very", add_special_tokens=False)["input_ids"]
    assert made.answer("very very very very") == [*words[:2], end]


# --- images


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
        drawn.append(augment(pixels, kind))
    assert drawn[0].shape == pixels.shape and drawn[0].min() >= 0 and drawn[0].max() <= 1 + 1e-6
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(augment(pixels, "none"), pixels)


def test_flipping_mirrors_about_half_of_the_images() -> None:
    # Brightness grows from left to right; a mirrored crop of it falls.
    slope = torch.linspace(0, 1, 12).expand(400, 3, 12, 12)
    torch.manual_seed(0)
    rising = [
        (x[..., -1] - x[..., 0]).mean((1, 2)) > 0
        for x in (augment(slope, "crop-flip"), augment(slope, "crop"))
    ]
    # 200 +- 4 standard errors, sqrt(400 / 4) = 10 each.
    assert abs(rising[0].sum().item() - 200) < 40
    assert rising[1].all()
