"""Writes what a run learned as an ordinary peft LoRA checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from benchmark.errors import UserError, unwritable
from benchmark.models.backbone import load
from benchmark.models.backbone_store import find_folder, preset_key
from benchmark.publishing.card_snippet import Base, snippet
from benchmark.publishing.model_card import MARK, card
from benchmark.results import Result, atomic_write, read
from benchmark.running.checkpoint import pack
from benchmark.running.rebuilding import rebuild, rebuild_run
from benchmark.running.run import Run
from benchmark.running.worker import load_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peft import PeftConfig

    from benchmark.models.task_model import TaskModel
    from benchmark.stream import Task

WITHOUT_WORDS = ("plain",)
"""Styles of a prompt that put nothing of the task around a text."""
BASE = "base"
"""The folder of a base model within an exported one, where no hub has it."""


def export(
    path: Path,
    folder: Path,
    with_card: bool = False,
    tasks: Sequence[Task] | None = None,
    data_dir: Path | None = None,
    stream_file: Path | None = None,
) -> Path:
    """Write what a finished run's adapters come to so that `PeftModel.from_pretrained` loads it.

    A tuner of peft is written as it is. A sum of adapters is one LoRA of rank sum r with scale 1, exact up to
    rounding. A classification head goes into `head.safetensors` beside it, since peft has no place for one
    shared head. A base model that comes with this package, or that it made, is written to `base/` there.

    Args:
        with_card: whether to write README.md too, a model card in the hub's format.
        tasks: whose words stand around texts; None loads them where the card needs them.
        data_dir: folder of data for that; None for the variable BENCH_DATA or the hub.
        stream_file: that describes the stream, where it is not a registered one.

    Raises:
        UserError: the method's result is not a sum of low-rank updates, or something cannot be read.
    """
    result = read(path)
    if not with_card:
        _refuse_other_card(folder / "README.md", result)
    method = rebuild(result, path)
    adapters, ready = method.low_rank_sum(), method.peft_checkpoint()
    if ready is None and not (adapters and all(len(down) for down, _ in adapters.values())):
        raise UserError(f"{result.method} has no peft form: {method.no_sum}")
    if with_card and tasks is None:
        tasks = _tasks(result, method.task_model, data_dir, stream_file)
    base = write_base(result, folder)
    # What the configuration names is loaded from any folder, so that it is written in full.
    reference = str(folder.resolve() / base.reference) if base.inside else base.reference
    if ready is not None:
        write_checkpoint(*ready, folder, reference, base.revision)
    elif adapters:
        write_lora(adapters, folder, reference, base.revision)
    has_head = bool(method.task_model.head_size())
    if has_head:
        atomic_write(folder / "head.safetensors", pack(method.task_model.answering_head()))
    else:
        # Of what was exported there before.
        (folder / "head.safetensors").unlink(missing_ok=True)
    if with_card:
        assert tasks is not None
        code = snippet(method.task_model, tasks, base)
        text = card(result, method.task_model.backbone.kind, has_head, code)
        atomic_write(folder / "README.md", text.encode())
    return folder


def _refuse_other_card(path: Path, result: Result) -> None:
    """Refuse to leave the card of another result beside its adapter.

    Raises:
        UserError: there is one.
    """
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if MARK in text and result.key not in text:
        raise UserError(
            f"{path} is the card of another result; --card writes that of {result.key}, or give another "
            "folder"
        )


def _tasks(
    result: Result, model: TaskModel, data_dir: Path | None, stream_file: Path | None
) -> Sequence[Task]:
    """Return a run's tasks, with the words around their texts where its prompt has any."""
    if model.backbone.kind in ("vector", "image") or model.protocol.prompt in WITHOUT_WORDS:
        return model.tasks
    try:
        run = rebuild_run(result, stream_file)
        return load_data(run, data_dir)[0].tasks
    except UserError as error:
        raise UserError(
            f"the card's code needs the words that the prompt '{model.protocol.prompt}' puts around texts, "
            f"which stand with the data: {error}"
        ) from None


def write_base(result: Result, folder: Path) -> Base:
    """Return where a run's base model can be loaded by transformers; a preset that no hub has is written.

    Raises:
        UserError: it cannot be had.
    """
    origin, revision = result.provenance.backbone_origin, result.provenance.backbone_revision
    key = preset_key(result.backbone)
    if revision:
        return Base(origin, revision)
    if key is None and "/" in origin:
        return Base(origin)
    run = Run.of(result)
    if key is None:
        return Base(str(find_folder(result.backbone, run.backbone_folder, run.backbone_weights)))
    loaded = load(result.backbone)
    if loaded.kind == "vector":
        return Base(result.backbone)  # one layer of this package, which transformers does not know
    try:
        module: Any = loaded.module
        module.save_pretrained(folder / BASE)
        if loaded.tokenizer is not None:
            loaded.tokenizer.save_pretrained(folder / BASE)
    except OSError as error:
        raise unwritable(f"to {folder / BASE}", error) from None
    return Base(BASE, inside=True)


def write_lora(
    adapters: dict[str, tuple[Tensor, Tensor]], folder: Path, backbone: str, revision: str | None = None
) -> None:
    """Write adapters (down (R, d_in), up (d_out, R)) by module name as a peft checkpoint."""
    from peft import LoraConfig

    rank = len(next(iter(adapters.values()))[0])
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,  # peft scales by alpha / r: 1, the scales being in the down factor
        target_modules=sorted(adapters),
    )
    tensors = {}
    for name, (down, up) in adapters.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = down
        tensors[f"base_model.model.{name}.lora_B.weight"] = up
    write_checkpoint(config, tensors, folder, backbone, revision)


def write_checkpoint(
    config: PeftConfig, tensors: dict[str, Tensor], folder: Path, backbone: str, revision: str | None = None
) -> None:
    """Write a configuration of peft and the tensors that it is for, to be put on the named backbone."""
    config.base_model_name_or_path, config.revision = backbone, revision
    config.inference_mode = True
    atomic_write(folder / "adapter_model.safetensors", pack(tensors))
    config.save_pretrained(str(folder))
