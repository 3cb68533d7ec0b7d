"""Puts a run's backbone, task model and method together on a device."""

from __future__ import annotations

import os

import torch

from benchmark.errors import UserError
from benchmark.lora.layer import LoraLinear
from benchmark.method import Context, Method
from benchmark.models import backbone as backbones
from benchmark.models.attention import use_attention
from benchmark.models.backbone import LoadedBackbone
from benchmark.models.checkpointing import checkpoint_blocks
from benchmark.models.feature_statistics import no_effect
from benchmark.models.make import make_task_model
from benchmark.models.placement import Placement
from benchmark.models.precision import round_frozen, use_precision
from benchmark.models.prefix_cache import make_prefix
from benchmark.registry import METHODS
from benchmark.running.accumulation import require_cheaper_steps
from benchmark.running.checkpoint import reseed
from benchmark.running.run import Run
from benchmark.settings import refine
from benchmark.stream import StreamKind, Task, require_learner


def prepare_device(name: str, gpus: int = 1) -> torch.device:
    """Return the device, the first of several, with the settings that make equal runs give equal bytes.

    Args:
        gpus: that one run computes on.

    Raises:
        UserError: a CUDA device was asked for that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device {name}: this machine has no CUDA device; use --device cpu")
    if name.startswith("cuda:") and int(name[5:]) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise UserError(f"--device {name}: this machine's last CUDA device is cuda:{last}")
    if gpus > 1 and (name == "cpu" or torch.cuda.device_count() < gpus):
        there = 0 if name == "cpu" else torch.cuda.device_count()
        nearest = "--gpus 1 is the nearest valid value" if there else "leave it out"
        raise UserError(f"--gpus {gpus}: this machine has {there} CUDA devices for a run; {nearest}")
    if name.startswith("cuda"):
        # Both count before the first product: cuBLAS sums in one order only with a workspace of its own, and
        # the memory-efficient attention's gradient has no order at all where a warning is all that is asked.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.enable_mem_efficient_sdp(False)
    # The same switch as `use_deterministic_algorithms`, which loads torch's whole compiler beside it.
    torch.set_deterministic_debug_mode("warn")
    # It also fills new memory before it is written, some 5 % of a step in bf16; nothing is read unwritten.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if name == "cpu":
        # One thread a run: runs side by side are quicker, and results do not depend on the cores.
        torch.set_num_threads(1)
    return torch.device(name)


def build(
    run: Run, tasks: list[Task], device: torch.device, kind: StreamKind | None = None, gpus: int = 1
) -> tuple[Method, LoadedBackbone]:
    """Load the backbone and make the run's method on it.

    Args:
        tasks: all tasks in order; their rows are not looked at.
        kind: of the stream; None for a run that has been learned, so that its stream need not be there.
        gpus: that the backbone's blocks are spread over.

    Raises:
        UserError: the backbone cannot learn this kind of stream, or the method cannot be built on it.
    """
    protocol = run.protocol
    placement = Placement(device, gpus, protocol.quantization, protocol.precision)
    backbone = backbones.load(run.backbone, run.backbone_folder, run.backbone_weights, placement)
    if kind is not None:
        require_learner(run.stream, kind, run.backbone, backbone.kind)
    make = METHODS.load(run.method)
    if backbone.kind not in make.kinds:
        raise UserError(
            f"the method '{run.method}' does not work on a backbone of kind {backbone.kind} "
            f"('{run.backbone}'); it takes: {', '.join(make.kinds)} (see: bench list --method {run.method})"
        )
    if make.own_classifier and (run.protocol.alignment or run.protocol.head == "nearest-class-mean"):
        raise UserError(f"the method '{run.method}': {no_effect(run.protocol)}")
    require_cheaper_steps(run.method, make, run.protocol, gpus)
    # In evaluation mode throughout: what is frozen draws no dropout, as in InfLoRA's official code.
    if not placement.while_loading:
        backbone.module.to(device)
    backbone.module.eval()
    use_attention(backbone.module, backbone.kind, protocol, device)
    use_precision(backbone.module, run.protocol.precision, device)
    backbone.precision, backbone.stored = protocol.precision, protocol.stored
    task_model = make_task_model(backbone, tasks, run.protocol, make.probes)
    hyperparameters = refine(make.Hyperparameters, run.hyperparameters, {}, run.method)
    # Before the method: what is kept belongs to the weights as they were loaded.
    task_model.prefix = make_prefix(backbone, run.protocol, make.changes, make.probes)
    if run.protocol.gradient_checkpointing:
        # After the prefix: a block that hands on stored states has nothing to compute again.
        checkpoint_blocks(backbone)
    reseed(run.seed, "build")
    method = make(Context(task_model, run.protocol, len(tasks)), hyperparameters)
    if not make.changes_backbone:
        adapted = {each.base for each in backbone.module.modules() if isinstance(each, LoraLinear)}
        round_frozen(backbone.module, run.protocol.precision, adapted)
    return method, backbone
