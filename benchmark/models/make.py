"""Makes what is learned for a backbone, a stream and a protocol."""

from __future__ import annotations

from benchmark.errors import UserError
from benchmark.models.alignment import AlignedObjective
from benchmark.models.backbone import LoadedBackbone
from benchmark.models.nearest_mean import NearestMeanObjective
from benchmark.models.objective import ClassificationObjective, Objective
from benchmark.models.positions import require_positions
from benchmark.models.text_objective import TextObjective
from benchmark.protocol import Protocol
from benchmark.stream import Task


def make_objective(backbone: LoadedBackbone, tasks: list[Task], protocol: Protocol) -> Objective:
    """Return the objective that fits backbone and protocol: a head for features, strings for text to text.

    Raises:
        UserError: the protocol needs features and the backbone answers in text, or its texts are too long.
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
        return TextObjective(backbone, tasks, protocol)
    if by_means:
        return NearestMeanObjective(backbone, tasks, protocol)
    if protocol.alignment:
        return AlignedObjective(backbone, tasks, protocol)
    return ClassificationObjective(backbone, tasks, protocol)
