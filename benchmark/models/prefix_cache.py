"""The frozen prefix: what lies below the first adapted block, computed once for a row and kept on the disk.

The output of the blocks below the first adapted one is a fixed function of a row, and of a method that trains
nothing below its head the whole feature is. It is defined row by row: a row's states are those that the model
gives it **alone and unpadded**. So they do not depend on a batch, and a run that reads them from the cache
and one that computes them anew for every batch (`BENCH_PREFIX_GB=0`) give the same bytes. Eight rows of one
length go through the model together only where that was seen to give each the bits it has alone; on a GPU,
where products of another size round otherwise, they always go in groups of one size, filled up by repeating
a row.

A split is one entry of the row cache (`benchmark.data.row_cache`): memory-mapped, hashed, made under a lock
and renamed into place. Its key holds the weights, the row's own pixels or tokens, the block, the number
format, the versions of the libraries and the kind of processor.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.data import images
from benchmark.data.batches import Batch, ImageRows, Rows, TokenRows
from benchmark.data.row_cache import Arrays, code_of
from benchmark.models import prefix_store, tail
from benchmark.models.blocks import find_stacks, first_adapted_block
from benchmark.models.label_scores import pack_answers
from benchmark.models.tail import PREFIX, Tail

if TYPE_CHECKING:
    from benchmark.models.backbone import LoadedBackbone
    from benchmark.protocol import Protocol

FEATURES = "features"
# Rows that go through the model together, and rows of a split between two writes.
TOGETHER, WRITTEN = 8, 256
TOGETHER_ON_GPU = 32
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}

log = logging.getLogger(__name__)

Inputs = dict[str, Tensor]


class FrozenPrefix:
    """Computes, stores and reads what of a backbone never changes.

    Attributes:
        first: the first block that a method changes; None where it changes none, and whole features are kept.
        tail: runs the model from that block on; None for whole features.
        share: of a pass through the whole backbone that the states of a row cost.
    """

    def __init__(self, backbone: LoadedBackbone, first: int | None, dtype: str) -> None:
        """Hook the model; its weights must be those that were loaded."""
        self.backbone, self.first = backbone, first
        # Whole features are there without blocks too.
        stack = next(iter(find_stacks(backbone.module)), None)
        self.part = backbone.module.get_encoder() if backbone.kind == "seq2seq" else backbone.module  # type: ignore[operator]
        self.tail = None if first is None or stack is None else Tail(backbone.module, stack, first)
        own = next(backbone.module.parameters()).dtype
        self.dtype = HALVES.get(dtype, own)
        self.what = [
            *(stack.name if stack else "", backbone.kind, _configuration(backbone.module)),
            str(first),
            backbone.pooling,
            str(own),
            str(self.dtype),
            backbone.precision,
            backbone.weights_hash,
            *([backbone.stored] if backbone.stored else []),
        ]
        self._alone: dict[tuple[Any, ...], bool] = {}
        self.share = 1.0
        if self.tail is not None:
            backbone.passes.stands_still = self.tail.stands_still
            self.share = sum(backbone.passes.shares[block] for block in self.tail.below)

    @property
    def name(self) -> str:
        """The argument under which the states stand among a batch's inputs."""
        return FEATURES if self.first is None else PREFIX

    @property
    def device(self) -> torch.device:
        """Where the backbone lies."""
        return next(self.backbone.module.parameters()).device

    def key(self, content: str) -> list[str]:
        """Return all that the states of rows depend on, `content` being the hash of the rows."""
        import transformers

        processor = self.device.type
        if processor == "cpu":
            processor = torch.backends.cpu.get_cpu_capability()
        elif processor == "cuda":
            processor = torch.cuda.get_device_name(self.device)
        code = code_of(tail, FrozenPrefix)
        return [*self.what, content, torch.__version__, transformers.__version__, processor, code]

    def states(self, given: Sequence[Inputs]) -> list[Tensor]:
        """Return the states of rows, each `(length, width)`, or `(1, width)` of features.

        Args:
            given: the model's arguments for each row alone, `(1, ...)`.
        """
        groups: dict[tuple[Any, ...], list[int]] = {}
        for place, inputs in enumerate(given):
            groups.setdefault(tuple(value.shape for value in inputs.values()), []).append(place)
        found: dict[int, Tensor] = {}
        size = TOGETHER if self.device.type == "cpu" else TOGETHER_ON_GPU
        for shape, places in groups.items():
            for start in range(0, len(places), size):
                some = places[start : start + size]
                hidden = self._together(shape, [given[place] for place in some], size)
                found |= dict(zip(some, hidden, strict=True))
        return [found[place] for place in range(len(given))]

    def _together(self, shape: tuple[Any, ...], rows: list[Inputs], size: int) -> list[Tensor]:
        count = len(rows)
        on_gpu = self.device.type != "cpu"
        if on_gpu:
            rows = [*rows, *[rows[-1]] * (size - count)]
        alone = self._alone.get((shape, len(rows)))
        if alone or (count < size and not on_gpu):
            return [self._run(inputs)[0] for inputs in rows[:count]]
        hidden = self._run({name: torch.cat([row[name] for row in rows]) for name in rows[0]})
        if alone is None:
            same = self._same(rows, hidden)
            self._alone[shape, len(rows)] = not same
            if not same:
                return self._together(shape, rows[:count], size)
        return list(hidden[:count])

    def _same(self, rows: list[Inputs], hidden: Tensor) -> bool:
        """Whether each row's bits are those it has alone; on a GPU, those at another place of the group."""
        if self.device.type == "cpu":
            # All of them: a processor may treat the last rows of a product otherwise than the first.
            return all(torch.equal(self._run(row)[0], own) for row, own in zip(rows, hidden, strict=True))
        turned = rows[1:] + rows[:1]
        again = self._run({name: torch.cat([row[name] for row in turned]) for name in rows[0]})
        return torch.equal(again, hidden.roll(-1, 0))

    @torch.no_grad()
    def _run(self, inputs: Inputs) -> Tensor:
        # What a run costs hangs on its rows, not on what lies in the cache: see `PrefixedRows`.
        with self.backbone.passes.uncounted():
            if self.tail is None:
                return self.backbone.plain_features(inputs)[:, None].to(self.dtype)
            return self.tail.input_of_first(self.part, inputs).to(self.dtype)

    def attach(self, rows: Rows, answers: list[list[int]] | None = None) -> Rows:
        """Return rows whose batches hold their states; `answers` as `PrefixedRows` takes them."""
        return PrefixedRows(rows, self, answers)


class PrefixedRows:
    """Rows whose batches hold the output of the frozen prefix beside what the model is given.

    Images that are augmented while training have no fixed states: then a training batch goes through the
    whole model. A causal model's prompts have states with their answers behind them: in training the row's
    own, in scoring by labels all labels of the stream. Where it generates they have none, since what it says
    goes token by token through all blocks.
    """

    def __init__(self, rows: Rows, prefix: FrozenPrefix, answers: list[list[int]] | None = None) -> None:
        """Store nothing before a batch is asked for.

        Args:
            answers: token ids of every answer that a causal model's prompts may be scored with.
        """
        self.rows, self.prefix, self.answers = rows, prefix, answers
        self._stored: dict[bool, prefix_store.Ragged | None] = {}
        self._counted: dict[bool, set[int]] = {False: set(), True: set()}

    def __len__(self) -> int:
        return len(self.rows)

    def __getattr__(self, name: str) -> Any:
        if name == "rows":  # not there yet, as in a copy being made
            raise AttributeError(name)
        return getattr(self.rows, name)

    def length(self, row: int) -> int:
        """Return the cost of a row."""
        return self.rows.length(row)

    def batch(self, rows: Sequence[int], training: bool = False) -> Batch:
        """Return the given rows with their states, padded as their tokens are."""
        batch = self.rows.batch(rows, training)
        if not self._is_fixed(training):
            return batch
        hidden = self._states(rows, training)
        if self.prefix.first is None:
            batch.inputs = batch.inputs | {FEATURES: torch.cat(hidden)}
        else:
            batch.inputs = batch.inputs | {PREFIX: pad_states(hidden, batch.left)}
        return batch

    def _is_fixed(self, training: bool) -> bool:
        if isinstance(self.rows, ImageRows):
            return not (training and self.rows.augmentation != "none")
        return training or not self._causal or self.answers is not None

    @property
    def _causal(self) -> bool:
        return getattr(self.rows, "causal", False)

    def _states(self, rows: Sequence[int], training: bool) -> list[Tensor]:
        own = next(self.prefix.backbone.module.parameters()).dtype
        # Only of a causal model do training and scoring read different tokens.
        kind = training and self._causal
        new = set(rows) - self._counted[kind]
        self._counted[kind] |= new
        self.prefix.backbone.passes.add(len(new), self.prefix.share)
        if kind not in self._stored:
            self._stored[kind] = self._store(training)
        stored = self._stored[kind]
        if stored is not None:
            return [states.to(own) for states in stored.rows(rows)]
        return [states.to("cpu", own) for states in self.prefix.states(self._inputs(rows, training))]

    def _inputs(self, rows: Sequence[int], training: bool) -> list[Inputs]:
        # Image rows are not augmented here: they would have no states.
        found = [self.rows.batch([row], training and self._causal).inputs for row in rows]
        if self._causal and not training and self.answers is not None:
            found = [pack_answers(inputs, self.answers) for inputs in found]
        device, own = self.prefix.device, next(self.prefix.backbone.module.parameters()).dtype
        return [
            {name: x.to(device, own) if x.is_floating_point() else x.to(device) for name, x in inputs.items()}
            for inputs in found
        ]

    def _store(self, training: bool) -> prefix_store.Ragged | None:
        if not len(self.rows):
            return None

        def build(arrays: Arrays) -> None:
            writer = prefix_store.Writer(arrays)
            for start in range(0, len(self.rows), WRITTEN):
                chosen = range(start, min(start + WRITTEN, len(self.rows)))
                writer.write(self.prefix.states(self._inputs(chosen, training)))
            writer.close()

        scored = self.answers if self._causal and not training else None
        key = self.prefix.key(content_of(self.rows, training and self._causal) + repr(scored))
        return prefix_store.find_or_store(key, lambda: self._bytes(training), build, self.prefix.dtype)

    def _bytes(self, training: bool) -> int:
        first = self.prefix.states(self._inputs([0], training))[0]
        tokens = len(first) * len(self.rows)
        if isinstance(self.rows, TokenRows) and self.prefix.first is not None:
            # What stands behind a prompt is about as long for all.
            tokens += sum(self.rows.length(row) - self.rows.length(0) for row in range(len(self.rows)))
        return tokens * first.shape[1] * self.prefix.dtype.itemsize


def pad_states(states: list[Tensor], left: bool) -> Tensor:
    """Return states `(length, width)` as `(n, longest, width)`, filled up with zeros."""
    longest = max(len(state) for state in states)
    found = states[0].new_zeros(len(states), longest, states[0].shape[1])
    for place, state in enumerate(states):
        found[place, longest - len(state) if left else 0 :][: len(state)] = state
    return found


def _configuration(module: nn.Module) -> str:
    """Return what else than its weights decides what a model computes, without where it was read from."""
    config = getattr(module, "config", None)
    if config is None:
        return type(module).__name__
    own = {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}
    return type(module).__name__ + json.dumps(own, sort_keys=True, default=str)


def content_of(rows: Any, training: bool) -> str:
    """Return a hash of what the model is given for rows: their pixels and settings, or their tokens."""
    digest = hashlib.sha256()
    if isinstance(rows, ImageRows):
        digest.update(repr(asdict(rows.settings)).encode())
        for start in range(0, len(rows), WRITTEN):
            block = images.read(rows.images, range(start, min(start + WRITTEN, len(rows))))
            digest.update(repr((block.shape, block.dtype)).encode() + np.ascontiguousarray(block).tobytes())
        return digest.hexdigest()
    for row in range(len(rows)):
        for name, value in rows.batch([row], training).inputs.items():
            digest.update(repr((name, tuple(value.shape))).encode() + value.numpy().tobytes())
    return digest.hexdigest()


def make_prefix(
    backbone: LoadedBackbone, protocol: Protocol, changes: str, probe: bool = False
) -> FrozenPrefix | None:
    """Return the frozen prefix of a method on a backbone; None where nothing of the model is fixed.

    Args:
        changes: what the method changes, see `benchmark.method.Method.changes`.
        probe: whether a head on its features answers for a causal model.

    Raises:
        UserError: the backbone has not the blocks that the protocol names.
    """
    first = first_adapted_block(backbone.module, protocol.blocks)
    has_features = backbone.kind in ("image", "encoder") or (probe and backbone.kind == "causal")
    if changes == "nothing" and has_features:
        return FrozenPrefix(backbone, None, protocol.prefix_dtype)
    if changes == "input" or first == 0:
        return None
    # What writes its answer reads its blocks with that behind the prompt, also where none of them changes.
    return FrozenPrefix(backbone, first, protocol.prefix_dtype)
