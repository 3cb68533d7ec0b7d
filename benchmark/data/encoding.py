"""Splits as token ids and pixels, made once: what comes out lies in the cache and is the same without one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmark.data import images, mapped_rows, prompts
from benchmark.data.mapped_rows import BLOCK, IMAGES, MappedImages, Ragged, RaggedWriter, TokenLists
from benchmark.data.outcomes import fingerprint_of
from benchmark.data.row_cache import Arrays, code_of, map_cached
from benchmark.protocol import Protocol
from benchmark.stream import Examples, Task

# What cannot change a token. A setting that is not listed is taken to change them, so a new one does no harm.
NOT_IN_TOKENS = frozenset(
    (
        *("name", "source", "backbone", "head", "loss", "epochs", "epochs_by_task", "batch_size"),
        *("evaluation_batch_size", "rank", "alpha", "dropout", "targets", "schedule", "selection"),
        *("milestones", "milestone_factor", "crop_area"),
        *("gradient_clip", "train_limit", "test_limit", "validation", "score_on", "decoding", "normaliser"),
        *("pixels", "augmentation", "blocks", "prefix_dtype", "score_at", "precision"),
        *("quantization", "attention"),
    )
)


def tokenizer_identity(tokenizer: Any) -> str:
    """Return a hash of all that decides a tokenizer's ids: vocabulary, rules, special tokens, versions."""
    import tokenizers
    import transformers

    fast = getattr(tokenizer, "backend_tokenizer", None)
    rules = fast.to_str() if fast is not None else json.dumps(sorted(tokenizer.get_vocab().items()))
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    versions = [tokenizers.__version__, transformers.__version__]
    chat = getattr(tokenizer, "chat_template", None)
    identity = json.dumps([type(tokenizer).__name__, rules, special, versions, chat], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()


def token_key(tokenizer: str, task: Task, examples: Examples, protocol: Protocol) -> list[str]:
    """Return what the tokens of a split depend on.

    Args:
        examples: gives texts, labels and references.
    """
    settings = protocol.model_dump(mode="json", exclude=set(NOT_IN_TOKENS))
    words = [task.name, task.classes, asdict(task.wording)]
    code = code_of(prompts, mapped_rows)
    return [tokenizer, json.dumps([settings, words], sort_keys=True), fingerprint_of(examples), code]


def token_lists(
    key: Sequence[str], examples: Examples, parts: Mapping[str, Callable[[Examples], list[list[int]]]]
) -> dict[str, TokenLists]:
    """Return token ids of a split's rows.

    Args:
        parts: by a name, such as prompts and answers, what makes token ids of some of the rows at a time.
    """

    def build(arrays: Arrays) -> None:
        writers = {name: RaggedWriter(arrays, name) for name in parts}
        for block in _blocks(examples):
            for name, encode in parts.items():
                writers[name].tokens(encode(block))

    found = map_cached("tokens", [*key, *parts], build)
    return {name: TokenLists(found[name], found[f"{name}_offsets"]) for name in parts}


def _blocks(examples: Examples) -> Iterator[Examples]:
    """Yield a split's rows in blocks, at least one, and hold no more of mapped rows than a block."""
    for start in range(0, max(1, len(examples)), BLOCK):
        yield examples.take(np.arange(start, min(start + BLOCK, len(examples))))
        for column in (examples.inputs, examples.references, examples.ids):
            if isinstance(column, Ragged):
                column.release()


def resize_images(inputs: np.ndarray | MappedImages, size: int) -> np.ndarray | MappedImages:
    """Return images of a size: those given, or `(n, size, size)` or `(n, size, size, 3)` uint8."""
    if inputs.shape[1:3] == (size, size):
        return inputs

    def build(arrays: Arrays) -> None:
        for start in range(0, len(inputs), IMAGES):
            block = images.read(inputs, range(start, min(start + IMAGES, len(inputs))))
            arrays.append("pixels", images.resize_stored(block, size))

    key = [fingerprint_of(Examples(inputs)), str(size), torch.__version__, code_of(images)]
    return map_cached("pixels", key, build)["pixels"]
