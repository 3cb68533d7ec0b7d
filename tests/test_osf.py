"""OSF: peft's orthogonal subspace fine-tuning, decomposed anew for every task."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from tests import tiny


def osf(kind: str = "encoder", **chosen: Any) -> Any:
    return tiny.make_method("osf", kind, **{"learning_rate": 0.01} | chosen)


def weights(method: Any) -> dict[str, torch.Tensor]:
    return {name: x.clone() for name, x in method.weights.state().items()}


def test_kept_share_rises_evenly_over_the_tasks() -> None:
    method = osf(first_kept=0.5, last_kept=0.9)
    # 32 directions, 3 tasks: shares 0.5, 0.7, 0.9.
    assert [method._count_kept(next(iter(method.linears)), t) for t in range(3)] == [16, 22, 29]
    assert osf(last_kept=0.999)._count_kept(next(iter(method.linears)), 2) == 31, (
        "something is always left to train"
    )


def test_large_directions_stay_and_the_others_move() -> None:
    method = osf("encoder", optimizer="sgd", learning_rate=0.1)
    before = weights(method)
    tiny.learn(method, 0)
    for name, weight in weights(method).items():
        left, _, right = torch.linalg.svd(before[name])
        change = weight - before[name]
        assert change.abs().max() > 1e-4
        assert (left[:, :16].t() @ change).abs().max() < 1e-5
        assert (change @ right[:16].t()).abs().max() < 1e-5


def test_only_small_parts_and_head_are_trained() -> None:
    method = osf("vector")
    _, [phase] = tiny.begin(method, 0)
    # A 16 x 48 layer keeps 8 of 16 directions: U (16, 8), S (8), V (8, 48) are trained.
    shapes = sorted(tuple(p.shape) for p in phase.groups[0].parameters)
    assert shapes == [(8,), (8, 48), (16, 8)]


def test_learned_layers_are_plain_again_and_the_next_task_starts_from_them() -> None:
    method = osf("encoder")
    tiny.learn(method, 0)
    layers = [method.module.get_submodule(name) for name in method.linears]
    assert all(type(layer) is nn.Linear for layer in layers)
    before = tiny.logits(method, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.begin(method, 1)
    assert (tiny.logits(method, 0)[:, : before.shape[1]] - before).abs().max() < 1e-4
    counted = method.accounting()
    assert (counted.stored, counted.resident, counted.adapters) == (4 * 32 * 32, 0, 0)
