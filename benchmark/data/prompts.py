"""What stands around a text, as papers word it, and its tokens: the text is cut to fit, the prompt is not."""

from __future__ import annotations

from typing import Any

from benchmark.protocol import PromptStyle, Protocol
from benchmark.stream import Side, Task


def build(style: PromptStyle, task: Task, text: str) -> tuple[str, str, str]:
    """Return what goes before a text, the text, and what goes after it.

    Args:
        style: a protocol's `prompt`. `olora` names the task and the data set, as its official code does
            (cmnfriend/O-LoRA, `src/uie_collator.py`); `olora-anonymous` leaves those two lines out; `sapt`
            and `superni` are those of circle-hit/SAPT (`src/cl_dataset.py`), which strips definitions;
            `trace` puts the task's own words around the text, as TRACE's rows hold them; `plain` is the
            text alone.
        task: gives the words and, for `olora`, the options.
        text: one row's input.
    """
    words = task.wording
    if style == "plain":
        return "", text, ""
    if style == "trace":
        return words.instruction, text, words.closing
    definition = words.definition.strip()
    if style == "sapt":
        return f"{definition}\n" if definition else "", text, "\nOutput: "
    if style == "superni":
        before = f"Definition: {definition}\n\nNow complete the following example -\nInput: "
        return before, text, "\nOutput: "
    named = f"Task:{words.group}\nDataset:{words.dataset}\n" if style == "olora" else ""
    # A task without an instruction (COPA) asks within its text and lists no options.
    options = f"Option: {', '.join(task.classes)} \n" if words.instruction else ""
    return f"{named}{words.instruction}{options}", text, "\nAnswer:"


def encode_all(
    tokenizer: Any, task: Task, texts: list[str], protocol: Protocol, open_ended: bool = False
) -> list[list[int]]:
    """Return the token ids of each text in the protocol's prompt, at most `source_length` each.

    Args:
        tokenizer: a tokenizer of transformers.
        task: gives the words of the prompt.
        texts: inputs of the task.
        protocol: gives the prompt's style and length.
        open_ended: leave out the special tokens at the end, for a model that goes on writing.
    """
    if not texts:
        return []
    parts = [build(protocol.prompt, task, text) for text in texts]
    return _encode(tokenizer, parts, protocol.source_length, open_ended, task.wording.cut)


def encode(
    tokenizer: Any,
    before: str,
    text: str,
    after: str,
    limit: int,
    open_ended: bool = False,
    cut: Side = "end",
) -> list[int]:
    """Return the tokens of `before + text + after` with the tokenizer's special tokens, at most `limit`.

    What fits is tokenised in one piece. Else the three parts are tokenised apart and the text loses its
    end, or its start with `cut = start`; where `before` and `after` alone are too long, `before` loses its
    start as well. Only where `after` alone is too long does it lose its start.

    Args:
        tokenizer: a tokenizer of transformers.
        before: the prompt up to the text.
        text: the row's input.
        after: the prompt behind the text.
        limit: the most tokens, special ones counted.
        open_ended: leave out the special tokens at the end.
        cut: which side of the text gives way.
    """
    return _encode(tokenizer, [(before, text, after)], limit, open_ended, cut)[0]


def _encode(
    tokenizer: Any, parts: list[tuple[str, str, str]], limit: int, open_ended: bool, cut: Side
) -> list[list[int]]:
    first, last = special_tokens(tokenizer)
    if open_ended:
        last = []
    room = max(0, limit - len(first) - len(last))
    # Not verbose: a text longer than the model's limit is expected here, and cut.
    wholes = tokenizer(["".join(part) for part in parts], add_special_tokens=False, verbose=False)[
        "input_ids"
    ]
    bodies = [
        list(whole) if len(whole) <= room else _cut(tokenizer, *part, room, cut)
        for whole, part in zip(wholes, parts, strict=True)
    ]
    return [[*first, *body, *last] for body in bodies]


def _cut(tokenizer: Any, before: str, text: str, after: str, room: int, side: Side) -> list[int]:
    closing = _last(_tokens(tokenizer, after), room)
    opening = _last(_tokens(tokenizer, before), room - len(closing))
    body, left = _tokens(tokenizer, text), room - len(closing) - len(opening)
    return [*opening, *(body[:left] if side == "end" else _last(body, left)), *closing]


def _tokens(tokenizer: Any, text: str, special: bool = False) -> list[int]:
    return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])


def special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the special tokens that the tokenizer puts before and behind a text."""
    bare, full = _tokens(tokenizer, "a"), _tokens(tokenizer, "a", special=True)
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    return [], []


def _last(tokens: list[int], count: int) -> list[int]:
    return tokens[max(0, len(tokens) - count) :]
