"""Tuned and published values: files that name methods, protocols and hyper-parameters that exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchmark.commands.inspection import method as method_page
from benchmark.errors import UserError
from benchmark.registry import METHODS, STREAMS
from benchmark.running.plan import plan
from benchmark.running.tuned_values import (
    SCORES,
    all_tuned_values,
    find_tuned_values,
    folders,
    list_tuned_files,
    read_tuned,
)
from tests import tiny
from tests.command import ROOT

(FOLDER,) = folders("litelora")
FILES = list_tuned_files(FOLDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_is_of_a_protocol_and_sets_what_its_methods_take(path: Path) -> None:
    assert path.stem in STREAMS.load(path.parent.name).protocols
    for method, chosen in read_tuned(path).items():
        assert METHODS.entry(method).key == method
        fields = METHODS.load(method).Hyperparameters.model_fields
        assert chosen.values and chosen.values.keys() <= fields.keys()
        METHODS.load(method).Hyperparameters(**chosen.values)  # refuses what is out of range


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_search_chose_the_best_of_its_trials(path: Path) -> None:
    for method, chosen in read_tuned(path).items():
        if chosen.trials:
            complete = [trial for trial in chosen.trials if trial.get("state", "complete") == "complete"]
            score = SCORES[chosen.search.objective if chosen.search else "average_performance"]
            best = max(complete, key=lambda trial: trial[score])
            # Of equal scores any may be chosen.
            equal = [trial for trial in complete if trial[score] == best[score]]
            facts = (score, "state")
            tried = [{name: trial[name] for name in trial if name not in facts} for trial in equal]
            assert any(trial.items() <= chosen.values.items() for trial in tried), (method, path)


def test_a_value_is_found_by_method_stream_and_protocol() -> None:
    # Its search on digits scored 62.0, 68.7, 70.7, 65.9 and 55.2 at 0.001, 0.003, 0.01, 0.03 and 0.1.
    assert find_tuned_values("litelora", "digits", "smoke") == {"learning_rate": 0.01}
    assert find_tuned_values("litelora", "digits", "none such") == {}
    assert find_tuned_values("ncm", "digits", "smoke") == {}


def test_o_lora_s_long_script_sets_its_penalty_by_task() -> None:
    values = find_tuned_values("o-lora", "long-sequence", "olora")
    method: Any = tiny.make_method("o-lora", "vector", stream=tiny.tasks("vector", 15, 2, 2), **values)
    weights = []
    for t in range(15):
        tiny.begin(method, t)
        weights.append(method.orthogonal)
    # scripts/long.sh: 0 for the first of 15 tasks, 0.5 for the next eight, 5 for the last six.
    assert weights == [0.0] + 8 * [0.5] + 6 * [5.0]


@pytest.mark.parametrize(
    ("method", "stream", "protocol", "settings", "of_stream", "values"),
    [
        (
            "litelora",  # exps/litelora_cub200.json
            "cub200",
            "litelora",
            {"epochs": 20, "batch_size": 128, "rank": 10},
            {"split": "pilot", "tasks": 10},
            {
                "learning_rate": 0.008,
                "sparsity": 0.035,
                "selection_batch_size": 2,
                "gate_learning_rate": 0.01,
                "selection_epochs": 1,
                "magnitude_learning_rate": 0.008,
            },
        ),
        (
            "cl-lora",  # exps/cifar.json
            "cifar100",
            "cllora",
            {"epochs": 30, "batch_size": 64, "rank": 8, "backbone": "vit-b16-in21k"},
            {"tasks": 20},
            {"learning_rate": 0.03, "weight_decay": 1e-4},
        ),
        (
            "cl-lora",  # exps/ina.json
            "imagenet-a",
            "cllora",
            {"epochs": 25, "batch_size": 32, "rank": 10, "backbone": "vit-b16-in21k"},
            {"tasks": 10},
            {"learning_rate": 0.05, "weight_decay": 5e-3},
        ),
        (
            "cl-lora",  # exps/inr.json
            "imagenet-r",
            "cllora",
            {"epochs": 20, "batch_size": 32, "rank": 10, "backbone": "vit-b16-in21k-ft-in1k"},
            {"tasks": 40},
            {"learning_rate": 0.05, "weight_decay": 5e-4},
        ),
    ],
)
def test_a_published_run_has_the_settings_of_its_configuration(
    method: str,
    stream: str,
    protocol: str,
    settings: dict[str, Any],
    of_stream: dict[str, Any],
    values: dict[str, Any],
) -> None:
    (planned,) = plan(method, stream, protocol=protocol)
    assert {name: getattr(planned.protocol, name) for name in settings} == settings
    assert of_stream.items() <= planned.parameters.items()
    assert values.items() <= planned.hyperparameters.items()


def test_published_values_name_their_source() -> None:
    published = all_tuned_values("litelora")["imagenet-a/litelora"]
    assert published.values["sparsity"] == 0.014 and "official" in published.source


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[frozen]\nvalue = { learning_rate = 1 }\nsource = "s"\n', ["line 2", "unknown key 'value'"]),
        ("[frozen]\nvalues = { learning_rate = 1 }\n", ["frozen.source: is required"]),
        ("[frozen\n", ["is not TOML"]),
    ],
)
def test_a_faulty_file_is_reported_in_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "smoke.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as reported:
        read_tuned(path)
    assert str(path) in str(reported.value) and "\n" not in str(reported.value)
    assert all(word in str(reported.value) for word in words)


@pytest.mark.parametrize("key", METHODS.names())
def test_every_method_says_which_defaults_are_not_those_of_its_program(key: str) -> None:
    reported = " ".join(method_page(key).partition("\n\ndefined in")[0].split())
    assert "Defaults that differ from the released program: " in reported


def test_no_method_file_holds_tuned_values_or_measured_results() -> None:
    for path in sorted((ROOT / "methods").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert "tuned:" not in text.split('"""', 2)[-1], path
        assert not re.search(r"Measured here|validation AP|\bA(P|AA) \d", text), path


@pytest.mark.slow
def test_an_installed_wheel_brings_the_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "benchmark", "methods", "tasks", "sweeps"):
        (source / name).symlink_to(ROOT / name)
    subprocess.run([*command, "--wheel-dir", tmp_path, source], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    asked = "import json, sys; sys.path.insert(0, sys.argv[1])\n"
    asked += "from benchmark.running.tuned_values import find_tuned_values\n"
    asked += "print(json.dumps(find_tuned_values('litelora', 'digits', 'smoke')))"
    options = [sys.executable, "-I", "-c", asked, site]
    done = subprocess.run(options, capture_output=True, text=True, check=True, timeout=300, cwd=tmp_path)
    assert json.loads(done.stdout) == {"learning_rate": 0.01}
