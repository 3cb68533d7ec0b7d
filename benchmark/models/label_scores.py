"""How likely a language model finds each of several label strings after a prompt, with the prompt run once.

A causal model reads one sequence of the prompt and all labels behind it: every label sees the prompt and
itself, at the positions that it would have right after the prompt (a tree of which the prompt is the trunk
and the labels are the branches). An encoder-decoder runs its encoder once and its decoder once for each
label. Logits are made only where a token of a label is predicted.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.data.batches import pad_rows

# The largest block of logits made at a time, in numbers.
MOST_LOGITS = 2**26


def pack_answers(inputs: dict[str, Tensor], answers: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Return a causal model's arguments for prompts with all answers behind each of them.

    Args:
        inputs: `input_ids` and `attention_mask` of the prompts, `(n, length)`, padded on the left.
        answers: token ids of each answer; its last token is only predicted, so it is not put in.

    Returns:
        `input_ids` and `position_ids` `(n, length + branches)`, and an additive `attention_mask`
        `(n, 1, length + branches, length + branches)`.
    """
    ids, real = inputs["input_ids"], inputs["attention_mask"].bool()
    count, length = ids.shape
    device = ids.device
    tokens = torch.tensor(
        [token for answer in answers for token in answer[:-1]], dtype=ids.dtype, device=device
    )
    owner = torch.tensor([k for k, answer in enumerate(answers) for _ in answer[:-1]], device=device)
    depth = torch.tensor([d for answer in answers for d in range(len(answer) - 1)], device=device)
    own = (owner[:, None] == owner) & (depth[:, None] >= depth)
    size = length + len(tokens)
    visible = torch.zeros(count, size, size, dtype=torch.bool, device=device)
    visible[:, :length, :length] = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    visible[:, length:, length:] = own
    visible[:, length:, :length] = True
    visible[:, :, :length] &= real[:, None]
    # Padding sees itself: a row of a softmax must have something to sum over.
    visible |= torch.eye(size, dtype=torch.bool, device=device)
    blocked = torch.zeros(count, 1, size, size, device=device)
    blocked.masked_fill_(~visible[:, None], torch.finfo(torch.float32).min)
    places = real.long().cumsum(1)
    return {
        "input_ids": torch.cat([ids, tokens.expand(count, -1)], dim=1),
        "attention_mask": blocked,
        "position_ids": torch.cat([(places - 1).clamp(min=0), places[:, -1:] + depth], dim=1),
    }


def find_branches(answers: Sequence[Sequence[int]], chosen: Sequence[int]) -> list[int]:
    """Return the places behind the prompt at which the chosen ones of all packed answers stand."""
    starts = [0]
    for answer in answers:
        starts.append(starts[-1] + len(answer) - 1)
    return [place for k in chosen for place in range(starts[k], starts[k + 1])]


def causal_scores(
    module: Any,
    inputs: dict[str, Tensor],
    answers: Sequence[Sequence[int]],
    states: Tensor | None = None,
    summed: bool = False,
) -> Tensor:
    """Return the log-likelihood of each answer after each prompt, mean per token or summed, `(n, answers)`.

    Args:
        inputs: of the prompts, padded on the left.
        answers: token ids of each answer.
        states: `(n, length + branches, width)`, what the lower blocks make of the packed rows, to be fed to
            the model's tail; None runs the whole model.
        summed: of whole answers, which a mean does not rank: of tokens that follow from those before them, a
            long answer has more.
    """
    count, behind = len(inputs["input_ids"]), sum(len(answer) - 1 for answer in answers)
    vocabulary = module.config.get_text_config().vocab_size
    size = max(1, MOST_LOGITS // ((behind + 1) * vocabulary))
    found = []
    for start in range(0, count, size):
        rows = slice(start, start + size)
        given = pack_answers({name: value[rows] for name, value in inputs.items()}, answers)
        given["attention_mask"] = given["attention_mask"].to(next(module.parameters()).dtype)
        if states is not None:
            given["prefix"] = states[rows]
        logits = last_logits(module, given, behind + 1)
        found.append(score_answers(logits, answers, summed))
    return torch.cat(found)


def score_answers(logits: Tensor, answers: Sequence[Sequence[int]], summed: bool) -> Tensor:
    """Return mean or summed log-likelihoods `(n, answers)` from logits `(n, 1 + branches, vocabulary)`."""
    log_sums = logits.logsumexp(2)
    scores, place = [], 1
    for answer in answers:
        # The first token is predicted at the prompt's end, each other one at the token before it.
        where = torch.tensor([0, *range(place, place + len(answer) - 1)], device=logits.device)
        tokens = torch.tensor(answer, device=logits.device)
        likelihoods = logits[:, where, tokens] - log_sums[:, where]
        scores.append(likelihoods.sum(1) if summed else likelihoods.mean(1))
        place += len(answer) - 1
    return torch.stack(scores, dim=1)


def decoder_scores(
    module: Any, encoded: Any, mask: Tensor, answers: Sequence[Sequence[int]], summed: bool = False
) -> Tensor:
    """Return the log-likelihood of each answer, `(n, answers)`, of an encoder-decoder.

    Args:
        encoded: what the encoder returned for the prompts.
        mask: `(n, length)`, their real tokens.
        summed: of whole answers, else mean per token.
    """
    found = []
    for answer in answers:
        targets = pad_rows([list(answer)] * len(mask), -100).to(mask.device)
        logits = module(encoder_outputs=encoded, attention_mask=mask, labels=targets, use_cache=False).logits
        losses = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        found.append(-losses.sum(1) if summed else -losses.mean(1))
    return torch.stack(found, dim=1)


def last_logits(module: Any, inputs: dict[str, Tensor], count: int) -> Tensor:
    """Return a causal model's logits at the last `count` tokens, `(n, count, vocabulary)`."""
    if "logits_to_keep" in _arguments(module.__class__):
        return module(**inputs, use_cache=False, logits_to_keep=count).logits
    return module(**inputs, use_cache=False).logits[:, -count:]


@cache
def _arguments(kind: Any) -> frozenset[str]:
    return frozenset(inspect.signature(kind.forward).parameters)
