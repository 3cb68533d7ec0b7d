"""What stands around a text, as papers word it, and its tokens: the text is cut to fit, the prompt is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.errors import UserError
from benchmark.protocol import PromptStyle, Protocol
from benchmark.stream import Side, Task

MARK = "<<the text>>"
"""Stands for a text while a chat's template is filled in."""

ANNOUNCED = " Choose one from the option."
"""How O-LoRA's instructions announce the options."""


def build(style: PromptStyle, task: Task, text: str) -> tuple[str, str, str]:
    """Return what goes before a text, the text, and what goes after it.

    Args:
        style: a protocol's `prompt`. `olora` names the task and the data set, as its official code does
            (cmnfriend/O-LoRA, `src/uie_collator.py`); `olora-anonymous` leaves those two lines out, and
            `olora-open` the options and the sentence that announces them as well; `sapt`
            and `superni` are those of circle-hit/SAPT (`src/cl_dataset.py`), which strips definitions;
            `trace` puts the task's own words around the text, as TRACE's rows hold them; `plain` is the
            text alone; `chat` is what the user of a chat says, which `split_prompt` puts into the model's
            template.
        task: gives the words and, for `olora`, the options.
    """
    words = task.wording
    if style == "plain":
        return "", text, ""
    if style == "trace":
        return words.instruction, text, words.closing
    definition = words.definition.strip()
    if style == "chat":
        asked = definition or words.instruction.strip()
        classes = f"Answer with one of: {', '.join(task.classes)}." if task.classes else ""
        said = "\n".join(filter(None, [asked, classes]))
        return f"{said}\n\n" if said else "", text, words.closing
    if style == "sapt":
        return f"{definition}\n" if definition else "", text, "\nOutput: "
    if style == "superni":
        before = f"Definition: {definition}\n\nNow complete the following example -\nInput: "
        return before, text, "\nOutput: "
    if style == "olora-open":
        return words.instruction.replace(ANNOUNCED, ""), text, "\nAnswer:"
    named = f"Task:{words.group}\nDataset:{words.dataset}\n" if style == "olora" else ""
    # A task without an instruction (COPA) asks within its text and lists no options.
    options = f"Option: {', '.join(task.classes)} \n" if words.instruction else ""
    return f"{named}{words.instruction}{options}", text, "\nAnswer:"


def lists_options(style: PromptStyle) -> bool:
    """Return whether a prompt names the labels of its task, so that guessing is among these alone."""
    return style in ("olora", "olora-anonymous", "chat")


def split_prompt(tokenizer: Any, style: PromptStyle, task: Task) -> tuple[str, str]:
    """Return what goes before and after every text of a task, with a chat's template where the style asks.

    Raises:
        UserError: the tokenizer has no chat template, or its template does not keep what is said.
    """
    before, _, after = build(style, task, "")
    if style != "chat":
        return before, after
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            "prompt=chat needs a model with a chat template in its tokenizer, such as an instruct model's; "
            "this one has none (--set protocol.prompt=superni names task and input without one)"
        )
    said = [{"role": "user", "content": f"{before}{MARK}{after}"}]
    whole = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    opening, found, closing = whole.partition(MARK)
    if not found or MARK in closing:
        raise UserError("prompt=chat: the tokenizer's chat template does not hold what the user says, once")
    return opening, closing


def encode_all(
    tokenizer: Any, task: Task, texts: list[str], protocol: Protocol, open_ended: bool = False
) -> list[list[int]]:
    """Return the token ids of each text in the protocol's prompt, at most `source_length` each.

    Args:
        open_ended: leave out the special tokens at the end, for a model that goes on writing.
    """
    if not texts:
        return []
    before, after = split_prompt(tokenizer, protocol.prompt, task)
    parts = [(before, text, after) for text in texts]
    # A chat's template has special tokens of its own.
    framed = protocol.prompt != "chat"
    return encode(tokenizer, parts, protocol.source_length, open_ended, task.wording.cut, framed)


def encode(
    tokenizer: Any,
    parts: Sequence[tuple[str, str, str]],
    limit: int,
    open_ended: bool = False,
    cut: Side = "end",
    framed: bool = True,
) -> list[list[int]]:
    """Return the tokens of each `before + text + after`, at most `limit`, with special tokens where framed.

    What fits is tokenised in one piece. Else the three parts are tokenised apart and the text loses its
    end, or its start with `cut = start`; where `before` and `after` alone are too long, `before` loses its
    start as well. Only where `after` alone is too long does it lose its start.

    Args:
        limit: the most tokens, special ones counted.
        open_ended: leave out the special tokens at the end.
        cut: which side of the text gives way.
    """
    first, last = special_tokens(tokenizer) if framed else ([], [])
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
