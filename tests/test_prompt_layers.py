"""Where prompts are put: before the words, before the class token, beside keys and values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.data.batches import Batch, token_inputs
from benchmark.errors import UserError
from benchmark.models.small_models import HIDDEN
from methods.pieces.prefixes import Prefixes, spans
from methods.pieces.prompt_tokens import PLACE, PromptTokens
from tests import tiny

DOUBLE = torch.float64


# --- tokens


@pytest.mark.parametrize("kind", ["encoder", "seq2seq", "causal"])
def test_word_vectors_as_a_prompt_are_those_words_before_the_text(kind: str) -> None:
    """A prompt that holds the embeddings of two words does what the words do, with padding on either side."""
    backbone = tiny.backbone(kind, DOUBLE)
    tokens = PromptTokens(backbone, most=2, length=5)
    left, words = kind == "causal", [9, 12]
    texts = [[7, 8, 10, 11], [13, 14]]

    def batch(rows: list[list[int]]) -> Batch:
        answers = {} if kind != "seq2seq" else {"labels": torch.tensor([[7, 6], [8, 6]])}
        return Batch(token_inputs(rows, 0, left) | answers, rows=[0, 1], left=left)

    spoken = backbone.module(**batch([words + text for text in texts]).inputs)[0 if kind != "seq2seq" else 1]
    with tokens.holding(tokens.words().weight[words]):
        silent = backbone.module(**tokens.with_places(batch(texts)).inputs)[0 if kind != "seq2seq" else 1]
    assert (spoken - silent).abs().max() < 1e-9


def test_places_stand_behind_the_padding_and_nothing_is_asked_there() -> None:
    tokens = PromptTokens(tiny.backbone("causal"), most=2, length=5)
    tokens.vectors = torch.zeros(2, HIDDEN)
    ids, mask = torch.tensor([[0, 7, 8], [9, 10, 11]]), torch.tensor([[0, 1, 1], [1, 1, 1]])
    asked = torch.tensor([[-100, -100, 8], [-100, 10, 11]])
    given = Batch({"input_ids": ids, "attention_mask": mask}, targets=asked, rows=[0, 1], left=True)
    made = tokens.with_places(given)
    assert made.inputs["input_ids"].tolist() == [[0, PLACE, PLACE, 7, 8], [PLACE, PLACE, 9, 10, 11]]
    assert made.inputs["attention_mask"].tolist() == [[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]
    assert made.targets is not None
    assert made.targets.tolist() == [[-100, -100, -100, -100, 8], [-100, -100, -100, 10, 11]]
    right = tokens.with_places(replace(given, left=False))
    assert right.inputs["input_ids"].tolist() == [[PLACE, PLACE, 0, 7, 8], [PLACE, PLACE, 9, 10, 11]]
    assert right.targets is asked, "answers of a seq2seq model are a sequence of their own"


def test_a_vit_sees_prompts_before_its_class_token() -> None:
    backbone = tiny.backbone("image", DOUBLE)
    tokens = PromptTokens(backbone, most=3, length=0)
    method = tiny.make_method("seq-lora", "image")
    inputs = tiny.whole(tiny.rows(method, 0)).inputs
    prompt = torch.randn(len(inputs["pixel_values"]), 3, HIDDEN, dtype=DOUBLE)
    seen: list[Tensor] = []
    backbone.module.layers[0].register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    hidden = tokens.hidden(inputs, prompt)
    plain = backbone.module.embeddings(inputs["pixel_values"].double())
    assert torch.equal(seen[-1], torch.cat([prompt, plain], dim=1))
    assert hidden.shape[1] == 3 + plain.shape[1]


# --- prefixes


def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention over one head, written out."""
    return torch.softmax(query @ key.t() / query.shape[1] ** 0.5, dim=1) @ value


@pytest.mark.parametrize("kind", ["image", "encoder"])
def test_a_prefix_is_attended_to_as_further_keys_and_values(kind: str) -> None:
    backbone = tiny.backbone(kind, DOUBLE)
    prefixes = Prefixes(backbone)
    inputs = tiny.whole(tiny.rows(tiny.make_method("seq-lora", kind), 0)).inputs
    own = torch.randn(2, 1, 3, HIDDEN, dtype=DOUBLE)
    caught: dict[str, Tensor] = {}
    layer = prefixes.layers[0]

    def catch(module: nn.Module, given: tuple[Any, ...], answer: tuple[Tensor, Any]) -> None:
        caught["input"], caught["answer"] = given[0], answer[0]

    layer.register_forward_hook(catch)
    with prefixes.holding({0: own}):
        backbone.module(**inputs)
    query, key, value = (
        getattr(layer, name)(caught["input"][0])
        for name in (("q_proj", "k_proj", "v_proj") if kind == "image" else ("query", "key", "value"))
    )
    if kind == "encoder":
        real = inputs["attention_mask"][0].bool()
        key, value = key[real], value[real]
    key, value = torch.cat([own[0, 0], key]), torch.cat([own[1, 0], value])
    # Two heads of width 16, side by side.
    heads = [attended(query[:, part], key[:, part], value[:, part]) for part in (slice(16), slice(16, 32))]
    answer = torch.cat(heads, dim=1)
    if kind == "image":
        answer = layer.o_proj(answer)
    assert (caught["answer"][0] - answer).abs().max() < 1e-9


def test_ranges_of_blocks_are_the_published_ones_in_12_and_none_is_empty() -> None:
    assert [list(span) for span in spans(12, 2, 5)] == [[0, 1], [2, 3, 4]]
    # 6 blocks: up to 2/12 and 5/12, rounded up, is 1 and 3.
    assert [list(span) for span in spans(6, 2, 5)] == [[0], [1, 2]]
    assert [list(span) for span in spans(2, 2, 5)] == [[0], [1]]
    assert [list(span) for span in spans(24, 5)] == [list(range(10))]
    with pytest.raises(UserError, match="need a backbone of 2 blocks or more, not of 1"):
        spans(1, 2, 5)
