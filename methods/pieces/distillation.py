"""Distillation: a loss that keeps a model's answers close to those of a teacher."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from benchmark.data.batches import Batch


def divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over rows `(n, classes)`.

    The factor keeps the gradient's size independent of T (Hinton et al., arXiv 1503.02531).
    """
    target = functional.log_softmax(teacher / temperature, dim=-1)
    answer = functional.log_softmax(student / temperature, dim=-1)
    return temperature**2 * functional.kl_div(answer, target, reduction="batchmean", log_target=True)


def pick_answer_logits(logits: Tensor, batch: Batch, causal: bool) -> Tensor:
    """Return the logits `(tokens, vocabulary)` that predict a token of an answer."""
    assert batch.targets is not None
    targets = batch.targets
    if causal:
        # The logits at a place are about the next token; they may begin where the longest answer does.
        logits, targets = logits[:, :-1], targets[:, -logits.shape[1] :][:, 1:]
    return logits[targets != -100]
