"""Packages outside the suite: really installed, broken, and in conflict."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import assert_one_line_error, bench, install

SAMPLE = Path(__file__).parent / "sample_plugin"
BROKEN = "[bench.methods]\nbroken = broken_plugin:METHOD\n[bench.streams]\nbroken = broken_plugin:STREAM\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample package, installed by pip from a copy of its sources."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(SAMPLE, folder / "source")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", folder / "site", source],
        check=True,
        timeout=300,
    )
    return folder / "site"


@pytest.mark.slow
def test_an_installed_package_is_listed(installed: Path) -> None:
    done = bench("list", path=installed)
    assert done.returncode == 0, done.stderr
    assert "sample-probe" in done.stdout
    assert "sample-blobs" in done.stdout
    assert "from the package sample-plugin" in done.stdout


@pytest.mark.slow
def test_an_installed_package_describes_itself(installed: Path) -> None:
    done = bench("list", "--method", "sample_probe", "--stream", "sample-blobs", path=installed)
    assert done.returncode == 0, done.stderr
    assert "rate: float = 0.1 [> 0] [<= 10] - learning rate of the head" in done.stdout
    assert "sample-blobs/smoke: rate=0.05" in done.stdout
    assert "rows: int = 40" in done.stdout


@pytest.mark.slow
def test_an_installed_package_runs_and_is_skipped_the_second_time(installed: Path, tmp_path: Path) -> None:
    command = [
        "run",
        "--method",
        "sample-probe,seq-lora",
        "--stream",
        "sample-blobs",
        "--set",
        "stream.rows=24",
    ]
    first = bench(*command, "--out", tmp_path, "--json", path=installed)
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    assert report["complete"] is True
    assert [run["method"] for run in report["runs"]] == ["sample-probe", "seq-lora"]
    assert report["runs"][0]["config"]["hyperparameters"] == {"rate": 0.05}
    assert report["runs"][0]["config"]["parameters"] == {"rows": 24}
    assert all(Path(run["path"]).is_file() for run in report["runs"])
    assert "task 2/2 far" in first.stderr
    again = bench(*command, "--out", tmp_path, "--json", path=installed)
    assert [run["skipped"] for run in json.loads(again.stdout)["runs"]] == [True, True]


def test_a_package_that_fails_to_import_stops_only_what_asks_for_it(tmp_path: Path) -> None:
    folder = install(tmp_path, "broken", BROKEN, broken_plugin="raise RuntimeError('half\\nwritten')\n")
    assert "broken" in bench("list", path=folder).stdout
    asked = bench("run", "--method", "frozen", "--stream", "broken", path=folder)
    assert_one_line_error(asked, "'broken' cannot be loaded", "RuntimeError: half")
    other = bench("run", "--method", "all", "--stream", "digits", "--dry-run", path=folder)
    assert other.returncode == 0, other.stderr
    assert "broken" not in other.stdout


def test_check_reports_a_broken_package_without_failing_for_it(tmp_path: Path) -> None:
    folder = install(tmp_path, "broken", BROKEN, broken_plugin="raise RuntimeError('half written')\n")
    done = bench("list", "streams", "--check", path=folder)
    assert done.returncode == 0, done.stdout
    assert "stream broken: the stream 'broken' cannot be loaded" in done.stdout
    assert "stream digits: ok" in done.stdout


def test_an_object_of_the_wrong_type_is_refused(tmp_path: Path) -> None:
    points = "[bench.streams]\nodd = odd_plugin:STREAM\n"
    folder = install(tmp_path, "odd", points, odd_plugin="STREAM = 3\n")
    done = bench("list", "orders", "--stream", "odd", path=folder)
    assert_one_line_error(done, "'odd'", "is not a benchmark.stream.Stream")


def test_two_definitions_of_one_name_are_both_named(tmp_path: Path) -> None:
    points = "[bench.streams]\nDigits = other_digits:STREAM\n"
    folder = install(tmp_path, "other-digits", points, other_digits="")
    done = bench("list", "streams", path=folder)
    assert_one_line_error(done, "tasks/digits.py", "other_digits:STREAM of other-digits")
