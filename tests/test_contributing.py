"""CONTRIBUTING.md: short, and every command and file that it names exists."""

import re

from typer.main import get_command

from benchmark.cli import app
from tests.command import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_it_is_short():
    assert len(TEXT.splitlines()) < 110


def test_its_commands_exist():
    commands = get_command(app).commands
    named = set(re.findall(r"\bbench ([a-z]+)", TEXT))
    assert {"run", "submit", "leaderboard", "score", "develop"} <= named <= set(commands)
    grouped = set(re.findall(r"\bbench\s+develop\s+([a-z]+)", TEXT))
    assert {"ledger", "site"} == grouped <= set(commands["develop"].commands)
    flags = {name for option in commands["submit"].params for name in option.opts}
    assert set(re.findall(r"bench submit (--[a-z]+)", TEXT)) <= flags


def test_its_files_and_links_exist():
    links = re.findall(r"\]\(([^)#]+)", TEXT)
    assert links and [link for link in links if not (ROOT / link).is_file()] == []
    for name in re.findall(r"`([a-z]+/[a-z_/]*(?:\.py)?)`", TEXT):
        assert (ROOT / name).exists(), name


def test_the_walks_name_files_that_are_there_and_at_most_eight_each():
    walks = TEXT.partition("## Four walks")[2].partition("\n## ")[0].split("\n- ")[1:]
    assert len(walks) == 4
    for walk in walks:
        files = re.findall(r"`((?:benchmark|methods)/[\w/]+\.py)`", walk)
        assert 4 < len(files) <= 8 and len(set(files)) == len(files), "no file is come back to"
        assert all((ROOT / file).is_file() for file in files), files
