"""The suite's comparison of adapters on text to text; each stream fills in what differs between streams."""

from __future__ import annotations

from benchmark.protocol import Protocol
from benchmark.space import SearchRule


def standard(order: str, **changes: object) -> Protocol:
    """Return a comparison on a language model without a head, every row searched by the same rule.

    Args:
        order: of the trials, which no board reports.
    """
    settings: dict[str, object] = {
        "name": "standard",
        "backbone": "smollm2-135m-instruct-q4",
        # Small steps and many: what a gate decides has to be able to change.
        "epochs": 2,
        "batch_size": 4,
        "selection_steps": 60,
        # Without both, the best rate of a search on one run lets others of its runs diverge.
        "gradient_clip": 1.0,
        "schedule": "cosine",
        "rank": 8,
        "targets": ("query", "value"),
        "precision": "bf16",
        "train_limit": 100,
        "score_at": "diagonal+last",
        "search": SearchRule(
            rates={"sgd": (0.01, 0.03, 0.1, 0.3), "adamw": (0.0001, 0.0003, 0.001, 0.003)},
            orders=(order,),
            seeds=(1000,),
            tasks=3,
            # Average performance is the last task's where the others are forgotten: after three tasks SD-LoRA
            # read 16.7 at a rate that learns hardly anything, and 13.7 at one that learns the first to 78.
            objective="average_anytime",
        ),
    }
    return Protocol.model_validate(settings | changes)
