"""Makes what is learned for a backbone, a stream and a protocol."""

from __future__ import annotations

from benchmark.errors import UserError
from benchmark.models.alignment import AlignedTaskModel
from benchmark.models.backbone import LoadedBackbone
from benchmark.models.nearest_mean import NearestMeanTaskModel
from benchmark.models.positions import require_positions
from benchmark.models.task_model import ClassificationTaskModel, TaskModel
from benchmark.models.text_task_model import TextTaskModel
from benchmark.protocol import Protocol
from benchmark.stream import Task


def make_task_model(
    backbone: LoadedBackbone, tasks: list[Task], protocol: Protocol, probe: bool = False
) -> TaskModel:
    """Return the task model that fits backbone and protocol: a head for features, strings for text to text.

    Args:
        probe: put a head on a causal model's features as well.

    Raises:
        UserError: the protocol needs features and the backbone answers in text, its texts are too long, or
            there are no classes to probe for.
    """
    require_positions(backbone.module, backbone.kind, protocol, backbone.origin)
    by_means = protocol.head == "nearest-class-mean"
    if backbone.kind in ("seq2seq", "causal"):
        if by_means:
            raise UserError(
                "the head nearest-class-mean compares features, but a backbone of kind "
                f"{backbone.kind} answers in text; choose another head or a backbone of kind encoder or image"
            )
        if protocol.alignment:
            raise UserError(
                f"alignment={protocol.alignment} trains a head on features, but a backbone of kind "
                f"{backbone.kind} answers in text; leave it at 0 or take a backbone of kind encoder or image"
            )
        if probe and backbone.kind == "causal":
            if free := [task.name for task in tasks if not task.classes]:
                raise UserError(f"a probe needs classes, and the task '{free[0]}' asks for free text")
            return ClassificationTaskModel(backbone, tasks, protocol)
        return TextTaskModel(backbone, tasks, protocol)
    if by_means:
        return NearestMeanTaskModel(backbone, tasks, protocol)
    if protocol.alignment:
        return AlignedTaskModel(backbone, tasks, protocol)
    return ClassificationTaskModel(backbone, tasks, protocol)
