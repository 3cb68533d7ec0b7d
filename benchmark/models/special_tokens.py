"""Token ids that stand for padding and for the end of an answer, also where a tokenizer names none."""

from __future__ import annotations

from typing import Any

from benchmark.errors import UserError


def padding_id(tokenizer: Any) -> int:
    """Return the id that fills rows up: under a mask of 0 any will do, so one always exists."""
    for name in ("pad_token_id", "eos_token_id"):
        if (found := getattr(tokenizer, name, None)) is not None:
            return int(found)
    return 0


def end_id(tokenizer: Any, name: str) -> int:
    """Return the id that closes an answer.

    Raises:
        UserError: the tokenizer has neither an end nor a separator token, so no answer would ever end.
    """
    for token in ("eos_token_id", "sep_token_id"):
        if (found := getattr(tokenizer, token, None)) is not None:
            return int(found)
    raise UserError(
        f"the tokenizer of the backbone '{name}' has no end token (eos_token), so an answer could not end; "
        "add one to its tokenizer_config.json"
    )


def require_answers(module: Any, tokenizer: Any, kind: str, name: str) -> None:
    """Give a text-to-text model the ids that it needs to learn and to answer.

    Raises:
        UserError: the tokenizer has no end token, or a seq2seq model does not say how an answer begins.
    """
    end_id(tokenizer, name)
    if module.config.pad_token_id is None:
        module.config.pad_token_id = padding_id(tokenizer)
    if kind == "seq2seq" and getattr(module.config, "decoder_start_token_id", None) is None:
        raise UserError(
            f"the config.json of the backbone '{name}' has no decoder_start_token_id, so no answer can begin"
        )
