"""Tiny random backbones, streams and methods: what a real run has, small enough to check by hand.

Nothing here needs a network or a data folder. The transformers models have hidden size 32 and two blocks;
their tokenizers know the words that the tiny tasks are made of.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.data.batches import Batch, Rows
from benchmark.lora.layer import LoraLinear
from benchmark.method import Context, Method
from benchmark.models import backbone as backbones
from benchmark.models.backbone import LoadedBackbone
from benchmark.models.make import make_task_model
from benchmark.models.small_models import small_model
from benchmark.protocol import Protocol
from benchmark.registry import METHODS
from benchmark.running.checkpoint import reseed
from benchmark.running.task_loop import TrainPhase, begin_task, learn_task
from benchmark.running.training import train
from benchmark.stream import Examples, Request, Task, Wording

# As the learner does: tensors this small only wait for one another's threads.
torch.set_num_threads(1)

KINDS = ("vector", "image", "encoder", "seq2seq", "causal")
CLASSES = ("red", "deep blue", "green", "pale grey", "black", "light brown")
SHAPES = ("round", "long", "flat", "thin", "wide", "tall")
WORDS = ("the", "a", "thing", "is", "very", "seems", "not", *SHAPES, *sorted(set(" ".join(CLASSES).split())))
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>")


def everywhere() -> pytest.MarkDecorator:
    """Return the mark that asks a test for every registered method on every kind of backbone it takes."""
    cases = [
        pytest.param(key, kind, id=f"{key}-{kind}")
        for key in METHODS.names()
        for kind in KINDS
        if kind in METHODS.load(key).kinds
    ]
    return pytest.mark.parametrize(("key", "kind"), cases)


@cache
def folder(kind: str) -> Path:
    """Return a folder with a random model of the kind and with what prepares its inputs."""
    where = Path(tempfile.mkdtemp(prefix=f"tiny-{kind}-"))
    atexit.register(shutil.rmtree, where, ignore_errors=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model(kind).save_pretrained(where)
    if kind != "image":
        tokenizer(kind).save_pretrained(where)
    return where


def model(kind: str) -> Any:
    """Return a fresh ViT, BERT, T5 or Llama that knows the words of the tiny tasks."""
    start, end = SPECIAL.index("<s>"), SPECIAL.index("</s>")
    return small_model(kind, len(SPECIAL) + len(WORDS), 0, start, end)


def tokenizer(kind: str) -> Any:
    """Return a tokenizer of whole words that frames a text as BERT, T5 or Llama do."""
    import tokenizers
    import transformers

    ids = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    frame = {"encoder": "[CLS] $A [SEP]", "seq2seq": "$A </s>", "causal": "<s> $A"}[kind]
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single=frame, special_tokens=[(word, ids[word]) for word in SPECIAL]
    )
    ends = {"eos_token": "</s>", "bos_token": "<s>"} if kind != "encoder" else {}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        **ends,
    )


@cache
def loaded_once(kind: str) -> LoadedBackbone:
    """Return a backbone to copy; on its blocks no counter hangs."""
    loaded = backbones.load("linear" if kind == "vector" else str(folder(kind)))
    for block in loaded.passes.shares:
        block._forward_hooks.clear()
    return loaded


def backbone(kind: str, dtype: torch.dtype = torch.float32) -> LoadedBackbone:
    """Return a backbone of its own: nothing that a test does to it reaches another test."""
    loaded = loaded_once(kind)
    loaded = replace(loaded, module=deepcopy(loaded.module))
    loaded.module.to(dtype).eval()
    return loaded


def tasks(kind: str, count: int = 3, classes: int = 2, rows: int = 6) -> list[Task]:
    """Return `count` tasks of `classes` new classes each, with `rows` training and test rows of a class."""
    if kind == "vector":
        from tasks import toy

        settings = toy.Parameters(tasks=count, classes=classes, train_rows=rows, test_rows=rows)
        return toy.load(Request("1", 0, toy.SMOKE, None, settings)).tasks
    drawn = np.random.RandomState(0)
    made = []
    for t in range(count):
        names = tuple(CLASSES[(t * classes + k) % len(CLASSES)] for k in range(classes))
        labels = np.repeat(np.arange(classes), rows)
        marks = [t * classes + int(label) for label in labels]
        splits = []
        for split in ("train", "test"):
            inputs = images(marks, drawn) if kind == "image" else texts(marks, drawn)
            splits.append(Examples(inputs, labels, None, [f"{split}-{row}" for row in range(len(labels))]))
        made.append(
            Task(f"task {t}", splits[0], splits[1], classes=names, wording=Wording(instruction="the "))
        )
    return made


def images(marks: list[int], drawn: np.random.RandomState) -> np.ndarray:
    """Return `(n, 8, 8)` uint8 noise with a bright square whose place is the row's mark."""
    pixels = drawn.randint(0, 60, (len(marks), 8, 8))
    for picture, mark in zip(pixels, marks, strict=True):
        row, column = divmod(mark % 9, 3)
        picture[row * 3 : row * 3 + 2, column * 3 : column * 3 + 2] = 250
    return pixels.astype(np.uint8)


def texts(marks: list[int], drawn: np.random.RandomState) -> list[str]:
    """Return sentences of unequal length that hold one word for the row's mark."""
    filler = ["very", "not", "seems", "a"]
    return [
        " ".join(["the", "thing", "is", *drawn.choice(filler, drawn.randint(0, 4)), SHAPES[mark % 6]])
        for mark in marks
    ]


def free_tasks(count: int = 2, rows: int = 4) -> list[Task]:
    """Return text-to-text tasks: no classes, two accepted answers a row."""
    made = []
    for t in range(count):
        questions = [f"the thing is {SHAPES[(t + row) % 6]}" for row in range(rows)]
        accepted = [[CLASSES[(t + row) % 6], "not " + SHAPES[row % 6]] for row in range(rows)]
        rows_of = Examples(questions, None, accepted, [f"{t}-{row}" for row in range(rows)])
        made.append(Task(f"free {t}", rows_of, rows_of))
    return made


def protocol(kind: str, **changes: Any) -> Protocol:
    """Return two epochs in batches of four through pairs of rank two."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "source": "tests",
        "backbone": "linear",
        "epochs": 2,
        "batch_size": 4,
        "rank": 2,
        "source_length": 16,
        "target_length": 4,
        "decoding": "labels",
        "targets": ("projection",) if kind == "vector" else ("query", "value"),
    }
    return Protocol(**settings | changes)


def make_method(
    key: str,
    kind: str,
    dtype: torch.dtype = torch.float32,
    stream: list[Task] | None = None,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    device: str = "cpu",
    **hyperparameters: Any,
) -> Method:
    """Return a method on a tiny backbone; `settings` change the protocol."""
    chosen = protocol(kind, **settings or {})
    stream = tasks(kind) if stream is None else stream
    loaded = backbone(kind, dtype)
    loaded.module.to(device)
    made = METHODS.load(key)
    task_model = make_task_model(loaded, stream, chosen, made.probes)
    reseed(seed, "build")
    return made(Context(task_model, chosen, len(stream)), made.Hyperparameters(**hyperparameters))


@dataclass
class Cast:
    """Rows whose floating inputs have the backbone's dtype."""

    rows: Rows
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def length(self, row: int) -> int:
        return self.rows.length(row)

    def batch(self, rows: Any, training: bool = False) -> Batch:
        batch = self.rows.batch(rows, training)
        batch.inputs = {n: x.to(self.dtype) if x.is_floating_point() else x for n, x in batch.inputs.items()}
        return batch


def rows(method: Method, t: int, split: str = "train") -> Cast:
    """Return a task's encoded rows."""
    task = method.task_model.tasks[t]
    dtype = next(method.task_model.backbone.module.parameters()).dtype
    return Cast(method.task_model.encode(task, getattr(task, split)), dtype)


def begin(method: Method, t: int, seed: int = 0) -> tuple[Rows, Any]:
    """Begin a task as the learner does, and return its rows and phases; nothing is trained yet."""
    return begin_task(method, t, lambda task: rows(method, task), seed)


def learn(method: Method, t: int, seed: int = 0, train_phase: TrainPhase = train) -> int:
    """Learn a task as the learner does, and return the number of steps."""
    return learn_task(method, t, lambda task: rows(method, task), seed, train_phase).steps


def learned(key: str, count: int, kind: str = "encoder", **chosen: Any) -> Any:
    """Return a float64 method after its first tasks."""
    method = make_method(key, kind, torch.float64, **{"learning_rate": 0.01} | chosen)
    for t in range(count):
        learn(method, t)
    return method


def whole(given: Rows, training: bool = False) -> Batch:
    """Return all rows as one batch."""
    return given.batch(list(range(len(given))), training)


def logits(method: Method, t: int, split: str = "test") -> Tensor:
    """Return the classification logits of a task's rows, without a gradient."""
    with torch.no_grad():
        return method.task_model.logits(whole(rows(method, t, split)))


def randomise(stack: Any, seed: int = 0) -> None:
    """Give the current pair values as if it had been trained: up is zero at its start."""
    generator = torch.Generator().manual_seed(seed)
    for factor in stack.parameters():
        values = torch.randn(factor.shape, generator=generator, dtype=torch.float64)
        factor.data.copy_(values / factor.shape[-1] ** 0.5)


def bytes_of(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the frozen weights under the names they had before any layer was wrapped."""
    wraps = {name: "base" for name, layer in module.named_modules() if isinstance(layer, LoraLinear)}
    # A tuner of peft keeps the layer that it wraps under this name.
    wraps |= {name: "base_layer" for name, layer in module.named_modules() if hasattr(layer, "base_layer")}
    found = {}
    for name, value in module.named_parameters():
        outer = next((outer for outer in wraps if name.startswith(f"{outer}.")), None)
        inner = "" if outer is None else f"{outer}.{wraps[outer]}."
        if name.startswith(inner):
            plain = name if outer is None else f"{outer}.{name.removeprefix(inner)}"
            found[plain] = value.detach().clone()
    return found


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two dictionaries hold bit-identical tensors under the same names."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
