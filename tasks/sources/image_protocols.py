"""Protocols of image streams as published; each stream fills in what differs between streams.

Learning rates and optimisers belong to methods. What all of the published codes share and the engine follows:
images of 224 pixels in plain [0, 1], random crops of 5 to 100 % of the area, mirrored at random,
cross-entropy over the current task's classes. Where a code does otherwise its protocol's `source` says so.
"""

from __future__ import annotations

from typing import Literal

from benchmark.protocol import Protocol
from benchmark.space import SearchRule

VIT = "vit-b16-in21k-ft-in1k"
Augmentation = Literal["none", "crop", "crop-flip"]


def smoke(**changes: object) -> Protocol:
    """Return the suite's own budget: minutes on one CPU core."""
    settings: dict[str, object] = {
        "name": "smoke",
        "source": "this suite: minutes on one CPU core",
        "backbone": "vit-nano",
        "epochs": 5,
        "batch_size": 16,
        "rank": 4,
        "targets": ("query", "value"),
    }
    return Protocol.model_validate(settings | changes)


def standard(**changes: object) -> Protocol:
    """Return the suite's comparison of adapters on images; every row is searched by the same rule.

    The search learns the first three tasks with the classes as numbered; the permuted orders are reported.
    """
    settings: dict[str, object] = {
        "name": "standard",
        "source": "this suite: a comparison of adapters on a small pretrained ViT; every row searched by the "
        "same rule, on order natural and seed 1000, while orders 1 to 3 are reported",
        "backbone": "dinov2-small-saliency",
        "epochs": 6,
        "batch_size": 32,
        "rank": 8,
        "targets": ("query", "value"),
        "blocks": "last:9",
        # Many steps: what a gate decides has to be able to change.
        "selection_steps": 60,
        # Without both, the best rate of a search on one run lets others of its runs diverge.
        "gradient_clip": 1.0,
        "schedule": "cosine",
        "search": search("natural"),
    }
    return Protocol.model_validate(settings | changes)


def search(order: str) -> SearchRule:
    """Return the search of an image stream's `standard` protocol, on an order that no board reports."""
    return SearchRule(
        rates={"sgd": (0.003, 0.01, 0.03, 0.1), "adamw": (0.0001, 0.0003, 0.001, 0.003)},
        orders=(order,),
        seeds=(1000,),
        tasks=3,
    )


def litelora(configuration: str, augmentation: Augmentation = "crop-flip") -> Protocol:
    """Return the settings of LiteLoRA's runs; the selection phase and its weight belong to the method.

    Args:
        configuration: the set whose file in `exps/` was read.
        augmentation: less than the published one where an image may not be mirrored.
    """
    return _make_published(
        name="litelora",
        source=f"LiteLoRA (arXiv 2606.28117), exps/litelora_*.json of the official code for {configuration}",
        epochs=20,
        augmentation=augmentation,
    )


def sdlora(source: str, epochs: int, **changes: object) -> Protocol:
    """Return the settings of SD-LoRA's runs: batch 128, rank 10 on query and value.

    Args:
        source: which of the paper, the shipped configuration and the authors' log was followed.
    """
    return _make_published(
        name="sdlora", source=f"SD-LoRA (arXiv 2501.13198), {source}", epochs=epochs, **changes
    )


def inflora(configuration: str, epochs: int, **changes: object) -> Protocol:
    """Return the settings of InfLoRA's runs: batch 128, adapters on key and value, weights of ImageNet-21k.

    Crops take 8 to 100 % of the area, and most configurations keep the classes as numbered.

    Args:
        configuration: the file in `configs/` that was read.
    """
    settings: dict[str, object] = {
        "name": "inflora",
        "source": f"InfLoRA (arXiv 2404.00228), {configuration} of the official code, there with classes as "
        "numbered (--order natural) for seeds 0-4",
        "backbone": "vit-b16-in21k",
        "epochs": epochs,
        "targets": ("key", "value"),
        "schedule": "quarter-cosine-by-epoch",
        "crop_area": 0.08,
    }
    return _make_published(**settings | changes)


def pilot(configuration: str, batch_size: int) -> Protocol:
    """Return the budget that PILOT gives its adapters; rank and targets are not PILOT's.

    Args:
        configuration: the file in `exps/` that was read.
    """
    return _make_published(
        name="pilot",
        source=f"PILOT (sun-hailong/LAMDA-PILOT), {configuration}: budget, order and transforms; rank and "
        "targets are SD-LoRA's, PILOT puts bottlenecks of 64 beside every MLP",
        epochs=20,
        batch_size=batch_size,
        schedule="cosine",
    )


def cllora(configuration: str, epochs: int, batch_size: int, **changes: object) -> Protocol:
    """Return the settings of CL-LoRA's runs: adapters on query and value; its rates belong to the method.

    Args:
        configuration: the file in `exps/` that was read.
    """
    settings: dict[str, object] = {
        "name": "cllora",
        "source": f"CL-LoRA (arXiv 2505.24816), exps/{configuration} of the official code, there with seed "
        "1993 (--order 1)",
        "backbone": "vit-b16-in21k",
        "epochs": epochs,
        "batch_size": batch_size,
    }
    return _make_published(**settings | changes)


def _make_published(**settings: object) -> Protocol:
    shared: dict[str, object] = {
        "backbone": VIT,
        "batch_size": 128,
        "rank": 10,
        "targets": ("query", "value"),
        "validation": 0.0,
        "pixels": "unit",
        "augmentation": "crop-flip",
    }
    return Protocol.model_validate(shared | settings)
