"""Control characters: refused where names are read, shown as numbers where messages quote what was given."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark import registry
from benchmark.cli import app
from benchmark.data.checks import validation_errors
from benchmark.errors import UserError
from benchmark.printable import control_character, control_character_of_json, printable
from benchmark.publishing.model_card import card
from benchmark.registry import Registry
from benchmark.results import read
from benchmark.running.catalogue import load_stream
from tests import factories, tiny
from tests.test_stream_files import HEAD, SMOKE, TABLE, faults, rows, write

RED = "\x1b[31m"


def test_what_is_a_control_character() -> None:
    assert control_character({"a": ["b", ("c", f"d{RED}")]}) == "U+001B"
    assert control_character({"a\x9b": 1}) == "U+009B" and control_character("a\u202eb") == "U+202E"
    # Letters of any script, joiners between them and wide spaces are names like others.
    assert control_character(["caf\u00e9", "\u0645\u06cc\u200c\u062e", "\u3000", 3, None]) == ""
    assert printable(f"a\n{RED}b\r") == "a\n<U+001B>[31mb<U+000D>"
    # A control character comes out of JSON only where the text holds it, or an escape of it.
    for text, mark in [(f'["{RED}"]', "U+001B"), ('{"a": ["\\u202e"]}', "U+202E"), ('["a\\nb"]', "U+000A")]:
        assert control_character_of_json(text, json.loads(text, strict=False)) == mark
    for text in ['{\n\t"a": ["b"]\n}', '["C:\\\\runs"]']:
        assert control_character_of_json(text, json.loads(text)) == ""
    assert str(UserError(f"unknown '{RED}'")) == "unknown '<U+001B>[31m'"


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("tasks", 0, "name"), f"a{RED}", "control character U+001B"),
        (("tasks", 0, "classes", 0), "a\u2028", "control character U+2028"),
        (("tasks", 0, "metric"), f"accuracy{RED}", "control character U+001B"),
        (("tasks", 0, "metric"), "<script>|x", "metric"),
        (("tasks", 0, "metric"), "[accuracy](x)", "metric"),
        (("provenance", "data_origin"), "a\x07", "control character U+0007"),
    ],
)
def test_a_result_with_a_hostile_field_is_refused_and_reaches_no_card(
    place: tuple[Any, ...], value: str, words: str, tmp_path: Path
) -> None:
    (path,) = factories.save(tmp_path, factories.result())
    content = json.loads(path.read_bytes())
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=words.replace("+", r"\+")) as caught:
        card(read(path), "encoder", has_head=False)
    assert not control_character(str(caught.value))


def test_a_hostile_task_name_without_control_characters_is_escaped_in_the_card(tmp_path: Path) -> None:
    (path,) = factories.save(tmp_path, factories.result())
    content = json.loads(path.read_bytes())
    content["tasks"][0]["name"] = "x|<script>`"
    path.write_text(json.dumps(content), encoding="utf-8")
    text = card(read(path), "encoder", has_head=False)
    assert "x\\|\\<script>\\`" in text and "x|<script>" not in text.partition("## Scores")[2]


def test_a_plug_in_with_a_hostile_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(f"lora{RED}", "somewhere:METHOD", "bench.methods")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.raises(UserError, match=r"the name of a method holds the control character U\+001B"):
        _ = Registry("method", "methods", "METHOD").entries


def test_names_of_a_streams_file_and_of_its_rows(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD.replace("Support", "Support\\u001b") + TABLE + SMOKE)
    with pytest.raises(UserError, match=r"title: holds the control character U\+001B"):
        load_stream(str(path))
    path = write(tmp_path, HEAD + TABLE + SMOKE)
    good = ["a,train,one,x,1", "a,test,two,x,2"]
    for bad in (f"a,train,three,x{RED}y,3", f"a{RED}b,train,three,x,3"):
        rows(tmp_path, "task,split,text,label,id", *good, bad)
        (line,) = [one for one in faults(path) if "control character" in one]
        assert "row 3: the column" in line and "holds the control character U+001B in the name" in line


def test_names_of_a_streams_code() -> None:
    tasks = tiny.tasks("encoder", count=1)
    object.__setattr__(tasks[0], "name", f"t{RED}")
    (error,) = [one for one in validation_errors(tasks) if "control" in one.message]
    assert error.line == "t<U+001B>[31m: the name of a task holds the control character U+001B"


def test_an_argument_with_a_control_character_is_refused() -> None:
    done = CliRunner().invoke(app, ["data", "list", f"x{RED}"])
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr == "error: the argument 'x<U+001B>[31m' holds the control character U+001B\n"
