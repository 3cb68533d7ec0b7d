"""Prompts: how they are chosen or mixed, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from benchmark.errors import UserError
from benchmark.models.backbone import LoadedBackbone
from benchmark.models.small_models import HIDDEN
from benchmark.running.training import rate_factor, train
from methods.coda_prompt import component_weights, departure, orthonormal
from methods.pieces.prefixes import Prefixes
from methods.pieces.prompt_tokens import PromptTokens
from methods.pieces.prompting import best, similarity
from tests import tiny

DOUBLE = torch.float64


def vectors(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=DOUBLE)


def features(method: Any, t: int) -> Tensor:
    with torch.no_grad():
        return method.backbone.features(tiny.whole(tiny.rows(method, t, "test")).inputs)


# --- choosing


def test_keys_are_compared_by_cosine_whatever_their_length() -> None:
    # (3, 4) has length 5: cosines 3/5 with (10, 0), 4/5 with (0, 0.1), and 1 with itself.
    similar = similarity(vectors([3, 4]), vectors([10, 0], [0, 0.1], [3, 4]))
    assert torch.allclose(similar, vectors([0.6, 0.8, 1.0]))
    assert best(similar, 2, batchwise=False).tolist() == [[2, 1]]


def test_majority_of_a_batch_decides_for_all_its_rows() -> None:
    # The two best columns of the rows are (0, 1), (1, 2) and (3, 2): votes 1, 2, 2, 1. Columns 1 and 2 win.
    similar = vectors([4, 3, 2, 1], [1, 4, 3, 2], [1, 2, 3, 4])
    assert best(similar, 2, batchwise=False).tolist() == [[0, 1], [1, 2], [3, 2]]
    assert best(similar, 2, batchwise=True).tolist() == [[1, 2]] * 3
    # Of three rows that choose one each, all are chosen equally often: the first counts.
    assert best(similar, 1, batchwise=True).tolist() == [[0]] * 3


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000))
def test_one_row_is_its_own_majority(pool: int, count: int, seed: int) -> None:
    similar = torch.randn(1, pool, generator=torch.Generator().manual_seed(seed))
    count = min(count, pool)
    assert set(best(similar, count, True)[0].tolist()) == set(best(similar, count, False)[0].tolist())


# --- L2P


def test_l2p_feature_is_the_mean_state_of_the_chosen_prompts() -> None:
    method: Any = tiny.make_method("l2p-by-row", "image", DOUBLE, chosen=2, length=3)
    inputs = tiny.whole(tiny.rows(method, 0, "test")).inputs
    query = method.backbone.plain_features(inputs)
    chosen = similarity(query, method.keys).argsort(1, descending=True)[:, :2]
    prompts = torch.stack([torch.cat([method.prompts[i] for i in row]) for row in chosen.tolist()])
    hidden = method.tokens.hidden(inputs, prompts.detach())
    assert torch.allclose(features(method, 0), hidden[:, : 2 * 3].mean(1))


def test_l2p_pull_is_the_sum_over_chosen_keys_averaged_over_rows() -> None:
    method: Any = tiny.make_method("l2p-by-row", "image", DOUBLE, chosen=2, pull=0.3)
    tiny.begin(method, 0)
    batch = tiny.whole(tiny.rows(method, 0))
    similar = similarity(method.backbone.plain_features(batch.inputs), method.keys)
    pulled = -0.3 * similar.sort(1, descending=True).values[:, :2].sum() / len(batch)
    assert torch.allclose(method.loss(batch) - method.task_model.loss(batch), pulled)


def test_l2p_by_batch_depends_on_the_batch_and_says_so() -> None:
    method: Any = tiny.make_method("l2p", "image", DOUBLE, chosen=1)
    assert method.needs.test_batch
    assert not tiny.make_method("l2p", "image", batchwise=False).needs.test_batch
    assert not tiny.make_method("l2p-by-row", "image").needs.test_batch
    # Keys on which the rows do not agree: the queries of two rows themselves.
    inputs = tiny.whole(tiny.rows(method, 0, "test")).inputs
    query = method.backbone.plain_features(inputs)
    method.keys.data[:2] = query[:2]
    pixels = inputs["pixel_values"]
    alone = method.backbone.features({"pixel_values": pixels[:1]})
    outvoted = method.backbone.features({"pixel_values": pixels[[0, 1, 1]]})
    method.hyperparameters = method.hyperparameters.model_copy(update={"batchwise": False})
    free = method.backbone.features({"pixel_values": pixels[[0, 1, 1]]})
    assert torch.allclose(free[0], alone[0])
    assert not torch.allclose(outvoted[0], alone[0])


# --- DualPrompt


def test_dual_prompt_uses_the_expert_whose_key_is_nearest_and_the_tasks_own_while_training() -> None:
    method: Any = tiny.make_method("dual-prompt", "image", DOUBLE, pull=0.5)
    for t in range(2):
        tiny.learn(method, t)
    query = method.backbone.plain_features(tiny.whole(tiny.rows(method, 0, "test")).inputs)
    # The first half of the rows asks for expert 0, the others for expert 1.
    half = len(query) // 2
    method.keys[0].data = functional.normalize(query[:half], dim=1).mean(0) * 3
    method.keys[1].data = -method.keys[0].data
    chosen = similarity(query, torch.stack(method.keys)).argmax(1)
    inputs = tiny.whole(tiny.rows(method, 0, "test")).inputs
    answers = features(method, 0)
    for row, expert in enumerate(chosen.tolist()):
        prefixes = {0: method.general[0][:, None], 1: method.experts[expert][0][:, None]}
        with torch.no_grad(), method.prefixes.holding(prefixes):
            alone = method.backbone.plain_features({name: x[row : row + 1] for name, x in inputs.items()})
        assert torch.allclose(answers[row], alone[0])
    batch = tiny.whole(tiny.rows(method, 1))
    own = similarity(method.backbone.plain_features(batch.inputs), method.keys[1][None])
    prefixes = {0: method.general[0][:, None], 1: method.experts[1][0][:, None]}
    with method.prefixes.holding(prefixes):
        logits = method.task_model.head(method.backbone.plain_features(batch.inputs))
    wanted = method.task_model.cross_entropy(logits, batch.labels) - 0.5 * own.mean()
    assert torch.allclose(method.loss(batch), wanted)


def test_dual_prompt_leaves_old_experts_and_starts_a_new_one_as_the_last() -> None:
    method: Any = tiny.make_method("dual-prompt", "encoder", learning_rate=0.1)
    tiny.learn(method, 0)
    first, general = method.experts[0].detach().clone(), method.general.detach().clone()
    rows, [phase] = tiny.begin(method, 1)
    assert torch.equal(method.experts[1], first)
    train(method, phase, rows, (0, 1, phase.name), lambda share: None)
    assert torch.equal(method.experts[0], first)
    assert not torch.equal(method.experts[1], first) and not torch.equal(method.general, general)


# --- CODA-Prompt


def test_component_weight_is_the_cosine_of_key_and_attended_query() -> None:
    query = vectors([1, 2])
    # (1, 2) x (1, 1) = (1, 2), of length sqrt 5; with the key (2, 0) the cosine is 1 / sqrt 5.
    # (1, 2) x (3, 2) = (3, 4), of length 5; with the key (0, 7) it is 4 / 5.
    # (1, 2) x (1, 0) = (1, 0); with the key (-1, 0) it is -1.
    weights = component_weights(query, vectors([2, 0], [0, 7], [-1, 0]), vectors([1, 1], [3, 2], [1, 0]))
    assert torch.allclose(weights, vectors([1 / 5**0.5, 0.8, -1.0]))


@given(st.integers(0, 4), st.integers(1, 4), st.integers(0, 1000))
def test_new_components_are_orthonormal_and_orthogonal_to_trained_ones(k: int, count: int, seed: int) -> None:
    torch.manual_seed(seed)
    past = torch.randn(k, 9, dtype=DOUBLE) * 3  # neither unit nor orthogonal to each other
    new = orthonormal(count, past)
    assert new.shape == (count, 9)
    assert torch.allclose(new @ new.t(), torch.eye(count, dtype=DOUBLE), atol=1e-9)
    assert (new @ past.t()).abs().max() < 1e-9 if k else True


def test_departure_is_the_mean_squared_entry_of_the_gram_matrix_less_one() -> None:
    # Rows (1, 0) and (1, 2): Gram [[1, 1], [1, 5]], less the identity [[0, 1], [1, 4]]: (0 + 1 + 1 + 16) / 4.
    assert departure(vectors([1, 0], [1, 2])).item() == pytest.approx(4.5)


def test_coda_mixes_all_components_of_the_tasks_seen() -> None:
    method: Any = tiny.make_method("coda-prompt", "image", DOUBLE, pool_size=6, length=4, orthogonality=0.2)
    tiny.learn(method, 0)
    tiny.learn(method, 1)
    assert (method.share, [tuple(x.shape) for x in method.keys]) == (2, [(1, 2, 32), (1, 2, 32)])
    keys, attentions, components = (
        torch.cat([x[0] for x in values]) for values in (method.keys, method.attentions, method.components)
    )
    inputs = tiny.whole(tiny.rows(method, 0, "test")).inputs
    with torch.no_grad():
        query = method.backbone.plain_features(inputs)
        mixed = (component_weights(query, keys, attentions) @ components).view(-1, 4, 32)
        # The first half are keys, the second values.
        with method.prefixes.holding({0: torch.stack([mixed[:, :2], mixed[:, 2:]])}):
            wanted = method.backbone.plain_features(inputs)
    assert torch.allclose(features(method, 0), wanted)
    batch = tiny.whole(tiny.rows(method, 1))
    fine = 0.2 * (departure(keys) + departure(attentions) + departure(components))
    assert torch.allclose(method.loss(batch) - method.task_model.loss(batch), fine)


def test_coda_trains_the_tasks_own_components_alone() -> None:
    method: Any = tiny.make_method("coda-prompt", "encoder", learning_rate=0.05)
    tiny.learn(method, 0)
    before = [values[0].detach().clone() for values in method._sets()]
    tiny.learn(method, 1)
    assert all(torch.equal(values[0], old) for values, old in zip(method._sets(), before, strict=True))


# --- Progressive Prompts


@pytest.mark.parametrize("kind", ["image", "encoder", "seq2seq", "causal"])
def test_progressive_prompts_forget_nothing(kind: str) -> None:
    method: Any = tiny.make_method("progressive-prompts", kind, DOUBLE, learning_rate=0.05, length=2)
    tiny.learn(method, 0)
    test = tiny.whole(tiny.rows(method, 0, "test"))
    before, prompt = method.predict(test, 0), method.prompts[0].clone()
    tiny.learn(method, 1)
    assert torch.equal(method.prompts[0], prompt) and not torch.equal(method.prompts[1], prompt)
    assert method.predict(test, 0) == before


def test_newest_prompt_stands_first_and_is_read_through_the_network_while_it_is_learned() -> None:
    method: Any = tiny.make_method("progressive-prompts", "encoder", DOUBLE, length=2, bottleneck=5)
    for t in range(2):
        tiny.learn(method, t)
    method.asked = 1
    assert torch.equal(method._vectors(), torch.cat([method.prompts[1], method.prompts[0]]))
    tiny.begin(method, 2)
    raw = method.prompts[2]
    network = method.network
    hidden = torch.relu(raw @ network[0].weight.t() + network[0].bias)
    out = hidden @ network[2].weight.t() + network[2].bias
    normal = (out - out.mean(1, keepdim=True)) / (out.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(method._vectors()[:2], raw + normal)
    seen = method._vectors()[:2].detach()
    method.end_task(2, tiny.rows(method, 2))
    assert torch.equal(method.prompts[2], seen) and method.network is None


def test_l2p_keys_start_in_all_directions() -> None:
    """Keys drawn from [-1, 1) are unlike each other; positive ones have a cosine of 0.75 on average."""
    keys = tiny.make_method("l2p", "image").keys.detach()
    likeness = similarity(keys, keys)[~torch.eye(len(keys), dtype=torch.bool)]
    assert likeness.abs().mean() < 0.3 and likeness.min() < 0


def test_coda_prompt_s_default_has_no_penalty_and_a_schedule_of_its_own() -> None:
    method: Any = tiny.make_method("coda-prompt", "image", DOUBLE)
    rows, [phase] = tiny.begin(method, 0)
    batch = tiny.whole(rows)
    # Values that are far from orthonormal would be charged for.
    for values in method._sets():
        values[-1].data.mul_(10)
    assert torch.equal(method.loss(batch), method.task_model.loss(batch))
    # The released schedule, cos(99 pi / 200 x epoch / (K - 1)): the last of 20 at cos(0.495 pi) = 0.0157.
    assert phase.schedule == "quarter-cosine-by-epoch"
    assert rate_factor(replace(phase, epochs=20), 19, 1.0) == pytest.approx(0.015707, abs=1e-6)


@pytest.mark.parametrize(("key", "clip"), [("l2p", 1.0), ("dual-prompt", 1.0), ("coda-prompt", None)])
def test_gradients_are_clipped_as_published(key: str, clip: float | None) -> None:
    _, [phase] = tiny.begin(tiny.make_method(key, "image"), 0)
    assert phase.clip == clip
    _, [phase] = tiny.begin(tiny.make_method(key, "image", settings={"gradient_clip": 0.5}), 0)
    assert phase.clip == (clip or 0.5)  # the protocol's where the method has none
    _, [phase] = tiny.begin(tiny.make_method(key, "image", gradient_clip=2.0), 0)
    assert phase.clip == 2.0


# --- what is counted


def test_prompts_are_counted_by_hand() -> None:
    l2p = tiny.make_method("l2p", "image").accounting()
    # 10 prompts of 5 tokens and 10 keys, width 32; two passes.
    assert (l2p.stored, l2p.adapters, l2p.active, l2p.passes_per_prediction) == (10 * 6 * 32, 10, 10, 2.0)
    dual: Any = tiny.make_method("dual-prompt", "image")
    for t in range(2):
        tiny.learn(dual, t)
    counted = dual.accounting()
    # In one of two blocks each, 5 keys and 5 values: a general prompt, two experts, and two keys.
    assert (counted.stored, counted.adapters, counted.active) == (3 * 10 * 32 + 2 * 32, 3, 3)
    coda: Any = tiny.make_method("coda-prompt", "image")
    tiny.learn(coda, 0)
    counted = coda.accounting()
    # 32 components for three tasks: 10 each, of 8 vectors, a key and an attention, in one block.
    assert (counted.stored, counted.adapters, counted.active) == (10 * (8 + 1 + 1) * 32, 10, 10)


# --- bad input


def test_more_tasks_than_a_pool_holds_is_one_line_before_training() -> None:
    with pytest.raises(UserError, match=r"a pool of 2 expert prompts cannot hold the 3 tasks.*pool_size=3"):
        tiny.make_method("dual-prompt", "image", pool_size=2)
    with pytest.raises(UserError, match=r"a pool of 2 components cannot hold the 3 tasks.*pool_size=3"):
        tiny.make_method("coda-prompt", "image", pool_size=2)


def test_more_components_than_can_be_orthogonal_are_refused() -> None:
    with pytest.raises(UserError, match=r"33 components cannot be orthogonal in features of width 32"):
        tiny.make_method("coda-prompt", "image", pool_size=33)


def test_more_prompts_chosen_than_there_are_is_refused() -> None:
    with pytest.raises(ValidationError, match="chosen=5 prompts are more than pool_size=4"):
        tiny.make_method("l2p", "image", pool_size=4)


def test_prompts_that_leave_no_room_for_the_text_are_refused() -> None:
    # The tiny BERT numbers 48 positions: 3 tasks of 11 prompt tokens and 16 of text are 49.
    tiny.make_method("progressive-prompts", "encoder", length=10)
    with pytest.raises(UserError, match="BertModel cannot take 33 prompt tokens before 16 tokens of text"):
        tiny.make_method("progressive-prompts", "encoder", length=11)


class Convolution(nn.Module):
    """A model of images without tokens or attention."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, HIDDEN, 4)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.inner(pixel_values)


def test_an_architecture_without_tokens_or_attention_is_refused() -> None:
    backbone = LoadedBackbone("image", Convolution(), HIDDEN)
    with pytest.raises(UserError, match="the backbone Convolution cannot take 5 prompt tokens: "):
        PromptTokens(backbone, 5, 0)
    with pytest.raises(UserError, match="the backbone Convolution cannot take prefixes of keys and values: "):
        Prefixes(backbone)
