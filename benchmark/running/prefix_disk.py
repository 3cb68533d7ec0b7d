"""What a run's frozen prefix will take on the disk, before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from benchmark.models import backbone as backbones
from benchmark.models import prefix_store
from benchmark.models.prefix_cache import FrozenPrefix, make_prefix
from benchmark.registry import METHODS

if TYPE_CHECKING:
    from benchmark.running.run import Run


@dataclass(frozen=True)
class PrefixDisk:
    """The size of a row's states.

    Attributes:
        tokens: of a row; of a text the most that it may have.
        width: numbers a token.
        bytes_per_row: of states.
        rows_per_task: train and test rows of a task where the protocol limits both; None where it does not,
            and where labels are scored.
        labels: whether test rows take more, by all labels that stand behind each.
    """

    tokens: int
    width: int
    bytes_per_row: int
    rows_per_task: int | None
    labels: bool = False

    def __str__(self) -> str:
        """Return it in words."""
        most = f"{1000 * self.bytes_per_row / 1e6:.1f} MB for 1,000 rows"
        if self.rows_per_task is not None:
            most += f", {self.rows_per_task * self.bytes_per_row / 1e6:.1f} MB a task"
        more = ", more for a test row, behind which all labels stand" if self.labels else ""
        limit = f"{prefix_store.VARIABLE} allows {prefix_store.limit() / 1e9:g} GB"
        return f"at most {most} on the disk ({self.tokens} tokens of {self.width} numbers){more}; {limit}"


def prefix_disk(run: Run) -> PrefixDisk | None:
    """Return what a run's frozen prefix takes on the disk; None where it has none.

    Loads the backbone, but only where the protocol or the method leaves some of it as it is.

    Raises:
        UserError: the backbone cannot be loaded, or has not the blocks that the protocol names.
    """
    protocol, made = run.protocol, METHODS.load(run.method)
    changes = made.changes
    if changes == "input" or (changes == "blocks" and protocol.blocks == "all"):
        return None
    backbone = backbones.load(run.backbone, run.backbone_folder, run.backbone_weights)
    backbone.module.eval()
    prefix = make_prefix(backbone, protocol, changes, made.probes)
    if prefix is None:
        return None
    tokens, width = _shape(prefix)
    answers = backbone.kind == "causal" and prefix.first is not None
    if backbone.kind != "image" and prefix.first is not None:
        # In training the answer stands behind a causal model's prompt.
        tokens = protocol.source_length + (protocol.target_length if answers else 0)
    labels = answers and protocol.picks_labels
    limits = protocol.train_limit, protocol.test_limit
    rows = None if None in limits or labels else sum(limit for limit in limits if limit is not None)
    return PrefixDisk(tokens, width, tokens * width * prefix.dtype.itemsize, rows, labels)


def _shape(prefix: FrozenPrefix) -> tuple[int, int]:
    """Return tokens and width of one row's states, of an empty image or a text of one token."""
    images = prefix.backbone.images
    one = torch.ones(1, 1, dtype=torch.int64)
    given = {"input_ids": one, "attention_mask": one}
    if images is not None:
        given = {"pixel_values": torch.zeros(1, 3, images.size, images.size)}
    states = prefix.states([given])[0]
    return states.shape[0], states.shape[1]
