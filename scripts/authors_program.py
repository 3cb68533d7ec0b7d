"""Runs SD-LoRA's authors' own training loop on the rows of one of our runs, from a folder with their program.

    python -m scripts.authors_program FOLDER WORK

`scripts.authors_loop` starts it and says what is measured. Their files are read and not changed: what
they take from a GPU, from the hub and from their data folder is put in their modules' place here.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from benchmark.data.load import load
from benchmark.running.catalogue import load_stream
from benchmark.stream import Request

RANK, RATE = 10, 0.008  # written in their code, and in their configuration for CIFAR-100
STREAM, CLASSES, SEED = "cifar100", 100, 1


@dataclass(frozen=True)
class Work:
    """What both sides do.

    Attributes:
        tasks: of equally many classes.
        train, test: rows a class.
        width, depth, heads, hidden: of the transformer.
        patch, side: of its images, in pixels.
    """

    tasks: int
    train: int
    test: int
    epochs: int
    batch: int
    width: int
    depth: int
    heads: int
    hidden: int
    patch: int
    side: int

    @property
    def classes(self) -> int:
        """The number of classes of a task."""
        return CLASSES // self.tasks

    def protocol(self) -> dict[str, object]:
        """Return what is not as in the stream's protocol `standard`, the blocks aside."""
        return {
            "epochs": self.epochs,
            "batch_size": self.batch,
            "evaluation_batch_size": self.batch,
            "rank": RANK,
            "train_limit": self.train * self.classes,
            "test_limit": self.test * self.classes,
            "validation": 0.0,
        }


class Rows:
    """The rows of our run as normalised tensors, in the place of their data manager."""

    def __init__(self, work: Work) -> None:
        """Load them as a run does."""
        stream = load_stream(STREAM)
        assert stream.parameters is not None
        protocol = stream.protocols["standard"].model_copy(update=work.protocol())
        parameters = stream.parameters(tasks=work.tasks, size=work.side)
        tasks = load(stream, Request("1", SEED, protocol, None, parameters)).tasks
        self.nb_tasks, self.nb_classes, self._classes = work.tasks, CLASSES, work.classes
        self._parts: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "test": []}
        for split, parts in self._parts.items():
            for number, task in enumerate(tasks):
                rows: Any = getattr(task, split)
                pixels = torch.stack([torch.as_tensor(rows.inputs[row]) for row in range(len(rows))])
                images = (pixels.movedim(-1, 1).float() / 255 - 0.5) / 0.5
                parts.append((images.contiguous(), torch.as_tensor(rows.labels) + number * work.classes))

    def get_task_size(self, task: int) -> int:
        """Return the number of classes of a task."""
        return self._classes

    def get_dataset(self, indices: Any, source: str, mode: str) -> TensorDataset:
        """Return number, image and class of the rows of classes, which are those of whole tasks."""
        first, last = indices[0] // self._classes, indices[-1] // self._classes
        images, labels = (
            torch.cat(part) for part in zip(*self._parts[source][first : last + 1], strict=True)
        )
        return TensorDataset(torch.arange(len(labels)), images, labels)


def run(folder: Path, work: Work, blocks: list[int], scored: bool) -> None:
    """Let their trainer learn and score all tasks.

    Args:
        folder: their program.
        blocks: that are adapted.
        scored: also score while a task is learned, in every fifth epoch, as they do to print it.
    """
    sys.path.insert(0, str(folder))
    import models.sdlora as learner
    import timm
    import trainer
    import utils.inc_net as network
    from timm.models.vision_transformer import VisionTransformer

    adapt = learner.LoRA_ViT_timm

    def make_transformer(*_: object, **__: object) -> Any:
        return VisionTransformer(
            img_size=work.side,
            patch_size=work.patch,
            embed_dim=work.width,
            depth=work.depth,
            num_heads=work.heads,
            mlp_ratio=work.hidden / work.width,
            init_values=1.0,
            num_classes=0,
        )

    def adapt_some(*arguments: Any, **named: Any) -> Any:
        model = adapt(*arguments, lora_layer=blocks, **named)
        for module in model.modules():
            # The layer looks for earlier adapters by the block's number, in lists of adapted blocks alone.
            if hasattr(module, "t_layer_i"):
                module.t_layer_i = blocks.index(module.t_layer_i)
        return model

    timm.create_model = make_transformer
    learner.LoRA_ViT_timm = network.LoRA_ViT_timm = adapt_some
    network.BaseNet.feature_dim = property(lambda _: work.width)
    learner.num_workers = 0
    rows = Rows(work)
    trainer.DataManager = lambda *_: rows
    torch.load = functools.partial(torch.load, weights_only=False)  # they store whole modules
    torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_: self
    if not scored:
        learner.Learner._compute_accuracy = lambda *_: 0.0
    settings = {
        **{"model_name": "sdlora", "backbone_type": "vit_base_patch16_224", "dataset": STREAM, "prefix": "-"},
        **{"seed": [SEED], "shuffle": True, "device": [-1], "memory_size": 0, "filepath": "./adapters/"},
        **{"init_cls": work.classes, "increment": work.classes, "batch_size": work.batch},
        **{"init_epoch": work.epochs, "init_lr": RATE, "init_milestones": [], "init_lr_decay": 0.1},
        **{"epochs": work.epochs, "lrate": RATE, "milestones": [], "lrate_decay": 0.1},
    }
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        trainer.train(settings)


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    run(Path(sys.argv[1]).resolve(), Work(**given.pop("work")), **given)
