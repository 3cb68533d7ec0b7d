"""What a run learned is an ordinary peft checkpoint: plain peft on the plain backbone answers the same."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import huggingface_hub
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.errors import UserError
from benchmark.method import Method
from benchmark.publishing.export import export
from benchmark.publishing.model_card import card
from benchmark.registry import METHODS
from benchmark.results import read, write
from benchmark.running.driver import run
from benchmark.running.learner import Learner
from benchmark.running.plan import plan
from benchmark.running.rebuilding import rebuild
from benchmark.running.run import Run
from benchmark.stream import LoadedStream
from tests import tiny

SMALL = ["epochs=2", "rank=2", "protocol.train_limit=16", "protocol.test_limit=8", "learning_rate=0.05"]
LOADERS = {
    "image": transformers.AutoModel,
    "encoder": transformers.AutoModel,
    "seq2seq": transformers.AutoModelForSeq2SeqLM,
    "causal": transformers.AutoModelForCausalLM,
}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results; a run in it is run once and not changed."""
    return tmp_path_factory.mktemp("runs")


def on_digits(method: str, out: Path, *settings: str) -> Path:
    """Run a method on the digits with a tiny random ViT and return the result's path."""
    runs = plan(method, "digits", backbone=str(tiny.folder("image")), settings=[*SMALL, *settings])
    (outcome,) = run(runs, out, None, 1, "cpu", False, lambda event: None)
    assert outcome.error is None and outcome.path is not None
    return outcome.path


def on_texts(method: str, kind: str, out: Path) -> Path:
    """Run a method on three tiny text tasks and return the result's path."""
    settings = METHODS.load(method).Hyperparameters(learning_rate=0.05).model_dump()
    protocol, backbone = tiny.protocol(kind, alpha=8.0), str(tiny.folder(kind))
    run = Run(method, "standard-cl", "1", 0, backbone, protocol, settings)
    path = out / f"{method}-{kind}.json"
    loaded = LoadedStream(tiny.tasks(kind), "made up")
    Learner(run, loaded, "print", path, "cpu", lambda event: None).learn_all()
    return path


def plain(kind: str) -> Any:
    """Return the backbone as transformers alone loads it."""
    more = {"add_pooling_layer": False} if kind in ("image", "encoder") else {}
    return LOADERS[kind].from_pretrained(tiny.folder(kind), dtype=torch.float32, **more)


@cache
def inputs(kind: str) -> dict[str, Tensor]:
    """Return four inputs of a model."""
    generator = torch.Generator().manual_seed(0)
    if kind == "image":
        return {"pixel_values": torch.randn(4, 3, 16, 16, generator=generator)}
    given = {"input_ids": torch.randint(len(tiny.SPECIAL), 20, (4, 9), generator=generator)}
    given["attention_mask"] = torch.ones_like(given["input_ids"])
    if kind == "seq2seq":
        given["decoder_input_ids"] = torch.randint(len(tiny.SPECIAL), 20, (4, 3), generator=generator)
    return given


def answer(model: Any, kind: str) -> Tensor:
    """Return hidden states, or logits over words."""
    with torch.no_grad():
        given = model(**inputs(kind))
    return given.last_hidden_state if kind in ("image", "encoder") else given.logits


def check_export(path: Path, kind: str, folder: Path) -> Method:
    """Check that plain peft on the plain backbone gives the outputs of the suite's own model."""
    assert export(path, folder) == folder
    ours = rebuild(read(path), path)
    expected = answer(ours.task_model.backbone.module.eval(), kind)
    untouched = answer(plain(kind).eval(), kind)
    assert not torch.allclose(untouched, expected, atol=1e-2)
    loaded = peft.PeftModel.from_pretrained(plain(kind), folder).eval()
    assert torch.allclose(answer(loaded, kind), expected, rtol=1e-5, atol=1e-5)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert (
        config["r"]
        == config["lora_alpha"]
        == sum(ours.stack.frozen_ranks) + 2 * (ours.stack.current_task is not None)
    )
    assert (folder / "head.safetensors").exists() is (kind in ("image", "encoder"))
    if not ours.task_model.head_size():
        return ours
    # The head's blocks, one under another, answer for all classes.
    head = load_file(folder / "head.safetensors")
    weights, biases = (
        torch.cat([head[f"{name}.{block}"] for block in range(len(head) // 2)])
        for name in ("weights", "biases")
    )
    first = answer(loaded, kind)[:, 0]
    batch = tiny.Batch(inputs(kind))
    with torch.no_grad():
        logits = ours.task_model.logits(batch)
    assert torch.allclose(functional.linear(first, weights, biases), logits, rtol=0, atol=1e-4)
    return ours


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("seq-lora", []),
        ("inc-lora", ["alpha=8"]),
        ("sd-lora", []),
        ("sd-lora", ["variant=paper"]),
        ("litelora", ["sparsity=0"]),
        ("litelora", ["variant=paper", "alpha=8"]),
    ],
)
def test_plain_peft_answers_the_same_on_images(
    method: str, settings: list[str], out: Path, tmp_path: Path
) -> None:
    check_export(on_digits(method, out, *settings), "image", tmp_path / "adapter")


@pytest.mark.parametrize("kind", ["encoder", "seq2seq", "causal"])
@pytest.mark.parametrize("method", ["inc-lora", "sd-lora", "litelora"])
def test_plain_peft_answers_the_same_on_texts(method: str, kind: str, tmp_path: Path) -> None:
    check_export(on_texts(method, kind, tmp_path), kind, tmp_path / "adapter")


def test_pruned_adapters_are_not_exported(out: Path, tmp_path: Path) -> None:
    path = on_digits("litelora", out, "sparsity=100", "selection_epochs=20")
    ours = check_export(path, "image", tmp_path / "adapter")
    assert ours.stack.count() == 1  # the first one is always kept
    assert read(path).parameters.adapters[-1] == 5


def test_the_command_writes_the_adapter(out: Path, tmp_path: Path) -> None:
    path = on_digits("inc-lora", out, "alpha=8")
    done = CliRunner().invoke(app, ["export", str(path), str(tmp_path / "adapter")])
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'adapter'}\n"
    assert sorted(file.name for file in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "head.safetensors",
    ]


def test_the_card_has_the_scores_in_the_hub_s_format(out: Path, tmp_path: Path) -> None:
    path = on_digits("inc-lora", out, "alpha=8")
    done = CliRunner().invoke(app, ["export", str(path), str(tmp_path / "adapter"), "--card"])
    assert done.exit_code == 0, done.stderr
    written = huggingface_hub.ModelCard.load(tmp_path / "adapter" / "README.md")
    result = read(path)
    assert written.data.library_name == "peft" and "base_model" not in written.data.to_dict()
    scores = {each.metric_type: each for each in written.data.eval_results}
    assert scores["accuracy"].metric_value == result.headline["average_performance"]
    assert scores["forgetting"].metric_value == result.headline["forgetting"]
    assert {each.task_type for each in scores.values()} == {"image-classification"}
    assert scores["accuracy"].dataset_args == {"order": "1", "seed": 0}
    assert result.provenance.data_fingerprint in written.text and "head.safetensors" in written.text


def test_a_card_names_a_hub_s_backbone_and_escapes_names(out: Path) -> None:
    result = read(on_digits("inc-lora", out, "alpha=8"))
    source = {"backbone_origin": "owner/name", "backbone_revision": "cafe", "task_order": ["a|b<i>"] * 5}
    evil = result.model_copy(
        update={"method": "x: <b>\n---\n# y", "provenance": result.provenance.model_copy(update=source)}
    )
    text = card(evil, "image", has_head=False)
    read_back = huggingface_hub.ModelCard(text)
    assert read_back.data.base_model == "owner/name"
    assert read_back.data.tags[-1] == read_back.data.model_name.partition(" on ")[0] == "x: <b>\n---\n# y"
    body = read_back.text
    assert "<b>" not in body.replace("\\<b>", "") and "\n# y" not in body
    assert "a\\|b\\<i>" in body and "head.safetensors" not in body


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("independent", "each task has an adapter of its own"),
        ("frozen", "it learned no low-rank update"),
        ("mocl", "it weighs its adapters anew for every input"),
        ("cl-lora", "the classes of each task have a sum of their own"),
        ("osf", "its updates have full rank"),
    ],
)
def test_what_is_no_sum_is_refused(method: str, reason: str, out: Path, tmp_path: Path) -> None:
    path = on_digits(method, out)
    done = CliRunner().invoke(app, ["export", str(path), str(tmp_path / "adapter")])
    assert done.exit_code == 2
    assert done.stderr == f"error: {method} has no peft form: {reason}\n"
    assert not (tmp_path / "adapter").exists()


def copied(path: Path, folder: Path) -> Path:
    """Return a copy of a result with its adapters, to be spoiled."""
    for file in (path, path.with_suffix(".safetensors")):
        shutil.copy(file, folder / f"run{file.suffix}")
    return folder / "run.json"


@pytest.mark.parametrize(
    ("method", "other"),
    [("inc-lora", "frozen"), ("inc-lora", "sd-lora"), ("sd-lora", "litelora"), ("litelora", "sd-lora")],
)
def test_adapters_of_another_method_are_refused(method: str, other: str, out: Path, tmp_path: Path) -> None:
    path = copied(on_digits(method, out), tmp_path)
    foreign = on_digits(other, out).with_suffix(".safetensors")
    # Written again without the key that names their run, they are told by what they hold.
    save_file(load_file(foreign), tmp_path / "run.safetensors")
    with pytest.raises(UserError, match="are of another method") as caught:
        export(path, tmp_path / "adapter")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "adapter").exists()


def test_adapters_of_another_run_of_the_same_method_are_refused(out: Path, tmp_path: Path) -> None:
    path = copied(on_digits("inc-lora", out), tmp_path)
    other = on_digits("inc-lora", out, "epochs=1")
    shutil.copy(other.with_suffix(".safetensors"), tmp_path / "run.safetensors")
    with pytest.raises(UserError, match="another run") as caught:
        export(path, tmp_path / "adapter")
    assert read(other).key in str(caught.value) and read(path).key in str(caught.value)
    assert not (tmp_path / "adapter").exists()


def test_adapters_of_another_backbone_are_refused(out: Path, tmp_path: Path) -> None:
    path = copied(on_digits("inc-lora", out), tmp_path)
    wider = transformers.ViTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, image_size=16
    )
    transformers.ViTModel(wider, add_pooling_layer=False).save_pretrained(tmp_path / "wider")
    # With the hash of the weights it was learned on, the right backbone would be found whatever its name.
    config = {name: value for name, value in read(path).config.items() if name != "backbone_weights"}
    for backbone in (tmp_path / "wider", tiny.folder("encoder")):
        write(read(path).model_copy(update={"backbone": str(backbone), "config": config}), path)
        with pytest.raises(
            UserError, match=r"another backbone|cannot learn|takes at most 48|other shapes"
        ) as caught:
            export(path, tmp_path / "adapter")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "adapter").exists()


def test_the_card_of_another_result_is_not_left_beside_an_adapter(out: Path, tmp_path: Path) -> None:
    first, second = on_digits("seq-lora", out), on_digits("inc-lora", out)
    runner = CliRunner()
    assert runner.invoke(app, ["export", str(first), str(tmp_path), "--card"]).exit_code == 0
    done = runner.invoke(app, ["export", str(second), str(tmp_path)])
    assert done.exit_code != 0 and "README.md is the card of another result; --card writes" in done.stderr
    assert runner.invoke(app, ["export", str(first), str(tmp_path)]).exit_code == 0
    assert runner.invoke(app, ["export", str(second), str(tmp_path), "--card"]).exit_code == 0
    assert read(second).key in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_damaged_or_missing_adapters_are_refused(out: Path, tmp_path: Path) -> None:
    path = copied(on_digits("inc-lora", out), tmp_path)
    adapters = path.with_suffix(".safetensors")
    whole = adapters.read_bytes()
    state = load_file(adapters)
    adapters.write_bytes(whole[:-4])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        export(path, tmp_path / "adapter")
    save_file({name: tensor for name, tensor in state.items() if "frozen.lora_B" not in name}, adapters)
    with pytest.raises(UserError, match="another"):
        export(path, tmp_path / "adapter")
    adapters.unlink()
    with pytest.raises(UserError, match="no adapters"):
        export(path, tmp_path / "adapter")
    adapters.write_bytes(whole)
    (tmp_path / "adapter").write_text("kept", encoding="utf-8")
    with pytest.raises(UserError, match="cannot write"):
        export(path, tmp_path / "adapter")
    assert (tmp_path / "adapter").read_text(encoding="utf-8") == "kept"


def test_a_run_is_found_again_from_its_result(out: Path) -> None:
    path = on_digits("litelora", out, "sparsity=0")
    result = read(path)
    ours = rebuild(result, path)
    assert ours.accounting().active == result.parameters.active_adapters[-1]
    assert ours.accounting().stored == result.parameters.on_disk
    assert ours.task_model.head_size() == result.parameters.head
