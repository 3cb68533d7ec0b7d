"""Any tuner of peft as a sequential method: configured for its layers, trained, resumed, exported."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from benchmark.commands import inspection
from benchmark.data.batches import Batch
from benchmark.errors import UserError
from benchmark.publishing.export import export, write_checkpoint
from benchmark.registry import METHODS
from benchmark.running.learner import Learner
from benchmark.running.run import Run
from benchmark.running.trial import ARCHITECTURES, trial
from benchmark.stream import LoadedStream
from methods.pieces.peft_configurations import TUNERS, Layers
from methods.pieces.peft_tuner import PeftTuner
from tests import tiny

KEYS = [f"seq-{tuner}" for tuner in TUNERS]
MODELS = [kind for kind in tiny.KINDS if kind != "vector"]


def layers(sizes: list[tuple[int, int]], **settings: Any) -> Layers:
    linears = {f"layer.{i}.query": nn.Linear(*size, device="meta") for i, size in enumerate(sizes)}
    return Layers(linears, tiny.protocol("encoder", **settings))


def test_every_tuner_of_the_table_is_a_method_and_no_other() -> None:
    assert {key for key in METHODS.names() if issubclass(METHODS.load(key), PeftTuner)} == set(KEYS)


# --- configurations


# What is said to differ from peft's own defaults, where none is held back by a layer's sides.
NOT_PEFTS = {
    "boft": {"boft_n_butterfly_factor"},
    "dora": {"r", "lora_alpha", "use_dora"},
    "hra": {"r"},
    "ia3": {"feedforward_modules"},  # worked out of the targets, which are the protocol's
    "loha": {"r", "alpha"},
    "lokr": {"r", "alpha"},
    "vblora": {"r"},
}


@pytest.mark.parametrize("tuner", TUNERS)
def test_pages_say_what_is_not_pefts_default(tuner: str) -> None:
    chosen = TUNERS[tuner].fields(layers([(768, 768)] * 2))
    pefts = peft.PEFT_TYPE_TO_CONFIG_MAPPING[TUNERS[tuner].type]()
    assert {name for name, value in chosen.items() if getattr(pefts, name) != value} == NOT_PEFTS.get(
        tuner, set()
    )
    page = " ".join(inspection.method(f"seq-{tuner}").split())
    reported = page.partition("Defaults that differ from the released program: of peft's configuration ")[2]
    assert reported.startswith("none") != (tuner in NOT_PEFTS)


def test_sizes_are_pefts_defaults_on_a_vit_b_and_smaller_on_small_layers() -> None:
    large, small = layers([(768, 768)] * 2, rank=8), layers([(32, 32)] * 2, rank=8)
    wanted = {
        # Of peft's defaults 4 x 2, 32, 64 and 256 divide 768; 256 does not divide 32.
        "boft": ({"boft_block_size": 4, "boft_n_butterfly_factor": 2},) * 2,
        "oft": ({"oft_block_size": 32},) * 2,
        "miss": ({"r": 64, "miss_dropout": 0.0}, {"r": 32, "miss_dropout": 0.0}),
        "c3a": ({"block_size": 256}, {"block_size": 32}),
        "vera": ({"r": 256, "vera_dropout": 0.0}, {"r": 32, "vera_dropout": 0.0}),
        # A quarter of 32 x 32 = 1024 coefficients is 256.
        "fourierft": ({"n_frequency": 1000}, {"n_frequency": 256}),
        # A quarter of 32 is 8, alpha 20 times that.
        "randlora": (
            {"r": 32, "randlora_alpha": 640, "randlora_dropout": 0.0},
            {"r": 8, "randlora_alpha": 160, "randlora_dropout": 0.0},
        ),
        "loha": ({"r": 8, "alpha": 8},) * 2,
    }
    for tuner, (at_768, at_32) in wanted.items():
        assert TUNERS[tuner].fields(large) == at_768, tuner
        assert TUNERS[tuner].fields(small) == at_32, tuner


@given(st.lists(st.integers(1, 400).map(lambda k: 2 * k), min_size=1, max_size=4), st.sampled_from([8, 64]))
def test_a_block_divides_every_side_and_no_larger_power_of_two_does(sides: list[int], most: int) -> None:
    size = layers([(4, 4)]).block(sides, most, "a tuner")
    assert all(side % size == 0 for side in sides)
    assert size == most or any(side % (2 * size) for side in sides)


def test_layers_without_a_common_block_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="no valid block size for layers of sizes 7, 32: 2 must divide"):
        TUNERS["oft"].fields(layers([(32, 32), (7, 32)]))


def test_ia3_scales_the_inputs_of_down_layers_and_the_outputs_of_others() -> None:
    method: Any = tiny.make_method("seq-ia3", "image", settings={"targets": ("query", "down")})
    # fc2 maps 48 to 32: its 48 inputs are scaled; of a query, its 32 outputs.
    assert sorted({parameter.numel() for parameter in method.parameters}) == [32, 48]


# --- what is counted


def test_random_matrices_that_are_only_read_are_auxiliary() -> None:
    method = tiny.make_method("seq-vera", "image")
    counted = method.accounting()
    # Per layer 32 rank scales and 32 output scales, 4 layers; two shared 32 x 32 matrices in 4 bytes.
    assert counted.stored == 4 * (32 + 32)
    assert counted.auxiliary_bytes == 2 * 32 * 32 * 4
    assert counted.resident == counted.stored + 2 * 32 * 32


def test_learned_numbers_are_all_stored() -> None:
    counted = tiny.make_method("seq-dora", "image").accounting()
    # Per layer a pair of rank 2, 2 (32 + 32), and 32 lengths; 4 layers.
    assert (counted.stored, counted.auxiliary_bytes) == (4 * (128 + 32), 0)


# --- training


def test_dropout_is_drawn_while_training_alone() -> None:
    method: Any = tiny.make_method("seq-dora", "encoder", settings={"dropout": 0.5})
    tiny.learn(method, 0)
    batch = tiny.whole(tiny.rows(method, 0))
    assert torch.equal(tiny.logits(method, 0), tiny.logits(method, 0))
    assert not torch.equal(method.task_model.logits(batch), method.task_model.logits(batch))


def test_one_adapter_goes_on_through_all_tasks() -> None:
    method: Any = tiny.make_method("seq-hra", "encoder", learning_rate=0.01)
    tiny.learn(method, 0)
    before = {name: tensor.clone() for name, tensor in method.adapter.state().items()}
    _, phases = tiny.begin(method, 1)
    assert tiny.same(before, method.adapter.state())
    assert [id(p) for p in phases[0].groups[0].parameters] == [id(p) for p in method.parameters]


# --- as peft writes it


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("key", KEYS)
def test_written_tuner_is_loaded_by_peft_and_answers_the_same(key: str, kind: str, tmp_path: Path) -> None:
    method: Any = tiny.make_method(key, kind, learning_rate=0.05)
    tiny.learn(method, 0)
    write_checkpoint(*method.peft_checkpoint(), tmp_path, "a backbone")
    plain, loaded = (tiny.backbone(kind).module for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = peft.PeftModel.from_pretrained(loaded, tmp_path).eval()
    batch = tiny.whole(tiny.rows(method, 0), training=True)
    ours, theirs, untouched = (answer(m, batch) for m in (method.module, loaded, plain))
    assert (ours - theirs).abs().max() < 1e-5 * max(1.0, ours.abs().max().item())
    assert (ours - untouched).abs().max() > 1e-4, "nothing was learned"


@torch.no_grad()
def answer(module: Any, batch: Batch) -> torch.Tensor:
    if batch.targets is None:
        return module(**batch.inputs).last_hidden_state
    return module(**batch.inputs, labels=batch.targets).logits


def test_export_writes_the_tuner_the_head_and_the_backbones_name(tmp_path: Path) -> None:
    settings = METHODS.load("seq-oft").Hyperparameters().model_dump()
    run = Run("seq-oft", "digits", "1", 0, str(tiny.folder("image")), tiny.protocol("image"), settings)
    path = tmp_path / "result.json"
    Learner(
        run, LoadedStream(tiny.tasks("image", 2), "made up"), "data", path, "cpu", lambda event: None
    ).learn_all()
    folder = export(path, tmp_path / "adapter")
    said = json.loads((folder / "adapter_config.json").read_text())
    assert said["peft_type"] == "OFT"
    assert said["base_model_name_or_path"] == run.backbone
    assert {file.name for file in folder.iterdir()} >= {"adapter_model.safetensors", "head.safetensors"}


# --- what is tried


@pytest.mark.parametrize("key", ["seq-oft", "seq-vera"])
def test_trial_really_trains_saves_and_restores(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = METHODS.load(key)
    assert {kind: trial(method, kind) for kind in ARCHITECTURES} == dict.fromkeys(ARCHITECTURES)
    monkeypatch.setattr(
        method, "restore", lambda self, state: self.task_model.restore({"seen": torch.tensor(2)})
    )
    assert trial(method, "causal") == "restored, it answers otherwise"
    monkeypatch.setattr(method, "phases", lambda self, t: [])
    assert trial(method, "causal") == "a step changes nothing"


def test_check_prints_the_matrix_and_fails_where_a_method_does_not_do_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = {key: METHODS.entries[key] for key in ("seq-ia3", "seq-lora", "seq-miss")}
    monkeypatch.setitem(METHODS.__dict__, "entries", entries)

    def refuse(self: Any) -> Any:
        raise UserError("no layer for it")

    monkeypatch.setattr(METHODS.load("seq-miss"), "_configuration", refuse)
    shown = io.StringIO()
    text, sound = inspection.check(["methods"], shown)
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith("seq-")}
    assert rows["seq-ia3"] == ["yes"] * 5
    assert "seq-lora" not in rows
    assert "seq-miss on causal (Llama): no layer for it" in text and not sound
    # Two methods are tried, on five kinds each; seq-lora is our own.
    lines = shown.getvalue().splitlines()
    assert lines[0] == "trial 1 of 10 | seq-ia3 on vector (linear) | unknown time left" and len(lines) == 10
    assert lines[9].startswith("trial 10 of 10 | seq-miss on causal (Llama) | ") and lines[9].endswith(
        " s left"
    )


# --- bad input


def test_unknown_field_of_a_configuration_is_one_line_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown field of peft's OFTConfig 'block_size'.*oft_block_size"):
        tiny.make_method("seq-oft", "image", configuration={"block_size": 4})


@pytest.mark.parametrize(
    ("key", "configuration", "said"),
    [
        (
            "seq-oft",
            {"oft_block_size": 5},
            "peft's OFTConfig cannot be put on the layers query, value of ViTModel: Invalid",
        ),
        ("seq-boft", {"boft_block_size": 5}, "BOFT"),
        ("seq-oft", {"bias": 3, "oft_block_size": 0}, "OFT"),
    ],
)
def test_what_peft_refuses_is_one_line_before_training(key: str, configuration: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        tiny.make_method(key, "image", configuration=configuration)
    assert "\n" not in str(error.value)


def test_a_chosen_field_replaces_the_tables() -> None:
    method: Any = tiny.make_method("seq-oft", "image", configuration={"oft_block_size": 8})
    # 32 inputs are 4 blocks of 8, each with 8 x 7 / 2 = 28 free entries.
    assert {tuple(parameter.shape) for parameter in method.parameters} == {(4, 28)}
