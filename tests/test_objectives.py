"""Head, losses, batches and decoding against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmark.data.batches import JoinedRows, TokenRows, VectorRows, batch_by_length
from benchmark.errors import UserError
from benchmark.models.head import GrowingHead
from benchmark.models.label_scores import score_answers
from benchmark.models.make import make_task_model
from benchmark.models.task_model import ClassificationTaskModel
from benchmark.models.text_task_model import TextTaskModel
from benchmark.stream import Examples, Task
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


def task_model(tasks: list[Task], **changes: Any) -> ClassificationTaskModel:
    """Return an task_model whose logits a test sets: rows of `x` are taken as logits of all classes seen."""
    made = make_task_model(tiny.backbone("vector"), tasks, tiny.protocol("vector", **changes))
    assert isinstance(made, ClassificationTaskModel)
    made.features = lambda batch: batch.inputs["x"]
    made.answer_scores = lambda features: features[:, : len(made.head)]
    made.logits = lambda batch: made.answer_scores(made.features(batch))
    return made


FRUIT = [plain_task("one", ("apple", "pear")), plain_task("two", ("plum", "fig"))]


def batch(logits: list[list[float]], labels: list[int]) -> Any:
    return VectorRows(torch.tensor(logits), torch.tensor(labels)).batch(list(range(len(labels))))


def test_local_loss_uses_the_current_logits_alone() -> None:
    made = task_model(FRUIT)
    made.begin_task([0])
    made.begin_task([1])
    loss = made.loss(batch([[9.0, -9.0, 0.0, math.log(3)]], [2]))
    # softmax of (0, ln 3) is (1/4, 3/4); the label is the first: -ln(1/4).
    assert math.isclose(loss.item(), math.log(4), rel_tol=1e-6)


def test_full_loss_uses_all_logits_seen_and_trains_all_rows() -> None:
    made = task_model(FRUIT, loss="full")
    made.begin_task([0])
    made.begin_task([1])
    loss = made.loss(batch([[math.log(2), 0.0, 0.0, math.log(4)]], [2]))
    # softmax weights 2, 1, 1, 4: the label has 1/8.
    assert math.isclose(loss.item(), math.log(8), rel_tol=1e-6)
    assert all(parameter.requires_grad for parameter in made.head.parameters())


def test_class_incremental_answers_over_all_classes_seen() -> None:
    made = task_model(FRUIT)
    logits = [[1.0, 0.0, 5.0, 9.0]]
    made.begin_task([0])
    assert made.predict(batch(logits, [0])) == [0]
    made.begin_task([1])
    assert made.predict(batch(logits, [0])) == [3]


def test_task_incremental_answers_within_the_task() -> None:
    made = task_model(FRUIT)
    made.begin_task([0])
    # A task not learned yet has no logits to choose from; the answer is wrong, not an error.
    assert made.predict(batch([[1.0, 2.0]], [0]), 1) == [0]
    made.begin_task([1])
    logits = batch([[1.0, 2.0, 8.0, 9.0], [2.0, 1.0, 9.0, 8.0]], [0, 0])
    assert made.predict(logits, 0) == [1, 0]
    assert made.predict(logits, 1) == [3, 2]


def test_classes_of_one_name_share_a_row() -> None:
    made = task_model([plain_task("one", ("pear", "apple")), plain_task("two", ("apple", "fig"))])
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
    made = task_model([plain_task("one", ("yes", "no")), plain_task("two", ("yes", "no"))])
    made.begin_task([0])
    size = made.head_size()
    made.begin_task([1])
    assert made.head_size() == size == 2 * 16 + 2
    assert all(parameter.requires_grad for parameter in made.head.parameters())


# --- batches


def test_longest_rows_come_first_and_together() -> None:
    rows = TokenRows([[1], [1, 2, 3], [1, 2], [4, 5, 6]], pad=0)
    assert [batch.rows for batch in batch_by_length(rows, 2, torch.device("cpu"))] == [[1, 3], [2, 0]]


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


def text_task_model(kind: str, **changes: Any) -> TextTaskModel:
    made = make_task_model(tiny.backbone(kind), tiny.tasks(kind), tiny.protocol(kind, **changes))
    assert isinstance(made, TextTaskModel)
    return made


def log_likelihood(made: TextTaskModel, prompt: list[int], answer: list[int]) -> float:
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
    return total if made.protocol.decoding == "labels-sum" else total / len(answer)


@pytest.mark.parametrize("decoding", ["labels", "labels-sum"])
@pytest.mark.parametrize("kind", ["seq2seq", "causal"])
def test_label_decoding_picks_the_highest_log_likelihood(kind: str, decoding: str) -> None:
    made = text_task_model(kind, decoding=decoding)
    made.begin_task([0, 1])  # four of the six labels, of one and of two words
    rows = made.encode(made.tasks[0], made.tasks[0].test)
    labels, prompts = list(made.columns), rows.prompts[:5]
    with torch.no_grad():
        scores = np.array([[log_likelihood(made, p, made.answer(x)) for x in labels] for p in prompts])
        ours = made.label_scores(rows.batch(range(5)), labels)
    assert np.allclose(ours, scores, atol=1e-4)
    assert made.predict(rows.batch(range(5))) == [labels[best] for best in scores[:, :4].argmax(1)]
    # Given the task, only its own labels compete: here the last two, not seen yet.
    assert made.predict(rows.batch(range(5)), 2) == [labels[4 + best] for best in scores[:, 4:].argmax(1)]


def test_a_sum_of_log_likelihoods_does_not_favour_long_labels() -> None:
    # A sure one-token label and one of three tokens whose last two follow from the first: p = 0.3 and 0.2.
    # Sums of logs rank them as they are, log 0.3 > log 0.2; means turn them round, log 0.3 < log 0.2 / 3.
    logits = torch.full((1, 4, 5), -30.0)
    logits[0, 0, [0, 1]] = torch.tensor([0.3, 0.2]).log()
    logits[0, 0, 4] = torch.tensor(0.5).log()
    logits[0, 1, 2] = logits[0, 2, 3] = 0.0
    summed, mean = (score_answers(logits, [[0], [1, 2, 3]], each)[0].exp() for each in (True, False))
    assert summed.tolist() == pytest.approx([0.3, 0.2])
    assert mean.tolist() == pytest.approx([0.3, 0.2 ** (1 / 3)])  # 0.58


def test_a_causal_models_answer_begins_with_a_blank_where_its_prompt_ends_without_one() -> None:
    assert text_task_model("causal", prompt="olora-open").lead == " "  # "Answer:"
    assert text_task_model("causal", prompt="sapt").lead == ""  # "Output: "
    assert text_task_model("seq2seq", prompt="olora-open").lead == ""  # an answer of its own


def test_a_probe_reads_the_last_token_of_a_causal_model() -> None:
    backbone, tasks, protocol = tiny.backbone("causal"), tiny.tasks("causal"), tiny.protocol("causal")
    made = make_task_model(backbone, tasks, protocol, probe=True)
    assert isinstance(made, ClassificationTaskModel)
    rows = made.encode(tasks[0], tasks[0].test)
    lengths = [len(prompt) for prompt in rows.prompts[:4]]
    assert len(set(lengths)) > 1  # so that some rows are padded
    with torch.no_grad():
        alone = [
            backbone.module(input_ids=torch.tensor([p]), output_hidden_states=True) for p in rows.prompts[:4]
        ]
        together = made.features(rows.batch(range(4)))
    assert torch.allclose(together, torch.stack([out.hidden_states[-1][0, -1] for out in alone]), atol=1e-5)
    free = [replace(tasks[0], classes=())]
    with pytest.raises(UserError, match="a probe needs classes, and the task"):
        make_task_model(backbone, free, protocol, probe=True)


def test_a_model_can_answer_before_its_first_task_in_free_text_alone() -> None:
    """The untrained model of a zero-shot run: labels compete once they are seen, text is always there."""
    assert text_task_model("causal", decoding="greedy").can_answer
    labels = text_task_model("causal")
    assert not labels.can_answer
    labels.begin_task([0])
    assert labels.can_answer


def test_causal_generation_continues_the_prompt() -> None:
    made = text_task_model("causal", decoding="greedy", target_length=3)
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
    made = text_task_model(kind)
    rows = made.encode(made.tasks[0], made.tasks[0].train)
    chosen = [0, len(rows) - 1]  # labels of one and of two words
    lengths = [len(rows.targets[row]) for row in chosen]
    assert lengths == [2, 3]  # with the end token
    with torch.no_grad():
        means = [log_likelihood(made, rows.prompts[row], rows.targets[row]) for row in chosen]
        loss = made.loss(rows.batch(chosen, training=True)).item()
    assert math.isclose(loss, -(2 * means[0] + 3 * means[1]) / 5, rel_tol=1e-4)


def test_free_text_accepts_every_reference_and_learns_the_first() -> None:
    made = make_task_model(tiny.backbone("seq2seq"), tiny.free_tasks(), tiny.protocol("seq2seq"))
    assert isinstance(made, TextTaskModel)
    task = made.tasks[0]
    rows = made.encode(task, task.train)
    assert rows.targets[0] == made.answer("red") and made.metric(task) == "rouge-l"
    assert made.references(task, task.test)[0] == ["red", "not round"]
    assert all(isinstance(text, str) for text in made.predict(rows.batch([0, 1])))


def test_answers_are_cut_and_closed() -> None:
    made = text_task_model("seq2seq", target_length=3)
    end = made.backbone.tokenizer.eos_token_id
    words = made.backbone.tokenizer("very very very very", add_special_tokens=False)["input_ids"]
    assert made.answer("very very very very") == [*words[:2], end]
