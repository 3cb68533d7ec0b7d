"""The plan: which runs a command means, and which commands are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, model_validator

from benchmark.errors import UserError
from benchmark.running.plan import ChosenBackbone, parse_seeds, plan, resolve_backbone
from benchmark.running.run import Run
from benchmark.settings import SettingNames, assign, refine


def runs(**changes: Any) -> list[Run]:
    """Return the plan of two cheap methods on the digits, with changes."""
    return plan(**{"methods": "frozen,seq-lora", "streams": "digits", **changes})


def test_defaults_are_the_first_order_seed_0_and_the_smoke_protocol() -> None:
    (run,) = runs(methods="SeqLoRA")
    assert (run.method, run.stream, run.seed, run.protocol.name) == ("seq-lora", "digits", 0, "smoke")
    assert run.backbone == resolve_backbone(run.protocol.backbone).name
    assert run.order == "1"
    assert run.zero_shot is False


def test_runs_come_by_order_seed_and_method_without_repeats() -> None:
    planned = runs(orders="2,1-2", seeds="1,0-1", methods="frozen,Seq_LoRA,frozen")
    assert [(run.order, run.seed, run.method) for run in planned] == [
        (order, seed, method) for order in ("2", "1") for seed in (1, 0) for method in ("frozen", "seq-lora")
    ]


def test_all_orders_and_all_methods() -> None:
    from benchmark.registry import METHODS

    assert {run.method for run in runs(methods="all")} >= {"frozen", "litelora"}
    assert len(runs(methods="all")) <= len(METHODS.names())
    assert [run.order for run in runs(methods="frozen", orders="all")] == [
        *("1", "2", "3", *(f"own-{n}" for n in range(4, 11)), "natural")
    ]


def test_protocol_and_zero_shot_are_taken_over() -> None:
    (run,) = runs(methods="frozen", protocol="LiteLoRA", zero_shot=True)
    assert run.protocol.name == "litelora"
    assert run.zero_shot is True


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"methods": "seq-lor"},
            ["unknown method 'seq-lor'", "did you mean 'seq-lora'?", "bench list methods"],
        ),
        ({"streams": "digit"}, ["unknown stream 'digit'", "did you mean 'digits'?", "bench list streams"]),
        ({"orders": "9"}, ["order of digits '9'", "natural", "bench list orders --stream digits"]),
        ({"orders": "2-9"}, ["order of digits '4'"]),
        ({"orders": "3-1"}, ["'3-1'", "upwards"]),
        ({"protocol": "smok"}, ["'smok'", "'smoke'", "bench list protocols --stream digits"]),
        ({"backbone": "vit-nan"}, ["unknown backbone 'vit-nan'", "did you mean 'vit-nano'?", "hub id"]),
        ({"backbone": "./nowhere"}, ["'./nowhere'", "neither a folder nor a hub id"]),
        ({"seeds": "x"}, ["--seed 'x'"]),
        ({"seeds": "-1"}, ["--seed '-1'"]),
        ({"seeds": "0-9999999999"}, ["'0-9999999999'"]),
        ({"seeds": "4294967296"}, ["--seed '4294967296'"]),
        ({"methods": "frozen,"}, ["empty part"]),
    ],
)
def test_what_is_not_understood_is_refused(changes: dict[str, str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        runs(**changes)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_seeds() -> None:
    assert parse_seeds("0-2,5, 1") == [0, 1, 2, 5]
    assert parse_seeds("007") == [7]


def test_a_preset_and_a_hub_id_go_by_their_names() -> None:
    assert resolve_backbone("owner/some-model_1.0") == ChosenBackbone("owner/some-model_1.0")
    assert resolve_backbone("ViT_Nano") == ChosenBackbone("vit-nano")


def test_settings_reach_protocol_and_methods() -> None:
    frozen, sequential = runs(
        settings=[
            "epochs=3",
            "protocol.targets=query",
            "learning_rate=0.5",
            "seq-lora.optimizer=sgd",
            "alpha=none",
        ]
    )
    assert (frozen.protocol.epochs, frozen.protocol.targets, frozen.protocol.alpha) == (3, ("query",), None)
    assert frozen.protocol.name == "smoke"
    assert frozen.hyperparameters["learning_rate"] == sequential.hyperparameters["learning_rate"] == 0.5
    assert frozen.hyperparameters["optimizer"] != "sgd"
    assert sequential.hyperparameters["optimizer"] == "sgd"


def test_tuned_values_lie_between_defaults_and_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = '[frozen]\nsource = "a test"\nvalues = { learning_rate = 0.25, weight_decay = 0.125 }\n'
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "smoke.toml").write_text(chosen, encoding="utf-8")
    monkeypatch.setattr("benchmark.running.tuned_values.folders", lambda method: [tmp_path])
    (run,) = runs(methods="frozen", settings=["weight_decay=0.5"])
    assert run.hyperparameters["learning_rate"] == 0.25
    assert run.hyperparameters["weight_decay"] == 0.5
    (other,) = runs(methods="frozen", protocol="litelora")
    assert other.hyperparameters["learning_rate"] != 0.25


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("epochs", ["--set 'epochs'", "key=value"]),
        ("epoch=3", ["unknown setting 'epoch'", "did you mean 'epochs'?", "bench list --method frozen"]),
        ("epochs=three", ["protocol.epochs", "'three'", "a valid integer"]),
        ("epochs=0", ["protocol.epochs", "'0'", "greater than or equal to 1"]),
        ("head=open", ["protocol.head", "'open'", "'class-incremental'"]),
        ("learning_rate=-1", ["frozen.learning_rate", "'-1'", "greater than 0"]),
        ("litelora.sparsity=1", ["'litelora'", "frozen, protocol, seq-lora, stream"]),
        ("frozen.sparsity=1", ["hyper-parameter of frozen", "'sparsity'"]),
        ("stream.overlap=1", ["'overlap'", "digits"]),
        ("name=other", ["'name' is not a setting", "--protocol"]),
        ("protocol.name=../other", ["protocol setting", "'name'"]),
        ("backbone=other", ["--backbone"]),
    ],
)
def test_a_bad_setting_is_refused(setting: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        runs(settings=[setting])
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_method_that_lacks_a_shared_setting_is_named() -> None:
    with pytest.raises(
        UserError, match=r"the method 'frozen' has no setting 'sparsity'; write <method>.sparsity"
    ):
        runs(methods="litelora,frozen", settings=["sparsity=0.1"])


NAMES = SettingNames({"one": frozenset({"rank", "pull"})}, {"blobs": frozenset({"pull", "overlap"})})


def test_a_key_known_in_several_places_must_be_qualified() -> None:
    with pytest.raises(
        UserError, match=r"'rank' is a setting of protocol and of one; write protocol.rank=3 or"
    ):
        assign(["rank=3"], NAMES)
    with pytest.raises(UserError, match="'pull' is a setting of stream and of one"):
        assign(["pull=3"], NAMES)
    chosen = assign(["protocol.rank=3", "ONE.rank=4", "stream.pull=5", "overlap=6", "overlap=7"], NAMES)
    assert chosen.protocol == {"rank": "3"}
    assert chosen.methods == {"one": {"rank": "4"}}
    assert chosen.streams == {"blobs": {"pull": "5", "overlap": "7"}}


class Sample(BaseModel):
    """One field of each kind."""

    count: int | None = 1
    flag: bool = False
    mode: Literal["none", "some"] = "some"
    names: tuple[str, ...] = ()
    rates: list[float] = Field(default_factory=list)
    table: dict[str, int] = Field(default_factory=dict)
    low: float = 0.0
    high: float = 1.0

    @model_validator(mode="after")
    def check(self) -> Sample:
        """Keep the limits in order."""
        if self.low > self.high:
            raise ValueError("low must not exceed high")
        return self


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("count", "3", 3),
        ("count", "none", None),
        ("flag", "true", True),
        ("mode", "none", "none"),
        ("names", "query,value", ("query", "value")),
        ("names", "query", ("query",)),
        ("rates", "[0.5, 1]", [0.5, 1.0]),
        ("rates", "0.5,1", [0.5, 1.0]),
        ("table", '{"a": 3}', {"a": 3}),
    ],
)
def test_a_text_is_read_as_its_field_needs_it(key: str, text: str, value: object) -> None:
    assert getattr(refine(Sample, {}, {key: text}, "sample"), key) == value


def test_values_that_do_not_fit_together_are_refused_once_all_are_known() -> None:
    fine = refine(Sample, {}, {"low": "2", "high": "3"}, "sample")
    assert (fine.low, fine.high) == (2.0, 3.0)
    with pytest.raises(UserError, match="settings of sample do not fit together: low must not exceed high"):
        refine(Sample, {}, {"low": "2"}, "sample")
