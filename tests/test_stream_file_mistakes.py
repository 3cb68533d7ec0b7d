"""A slip in a stream's file is one line with the file, the line in it and the nearest valid key."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.data.stream_file import read_stream
from tests.test_stream_files import GOOD, HEAD, SMOKE, TABLE, faults, rows, write


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (("columns =", "colums ="), "table: unknown key 'colums', did you mean 'columns'?"),
        (('text = "text"', 'txt = "text"'), "table.columns: unknown key 'txt', did you mean 'text'?"),
        (("licence =", "license ="), "unknown key 'license', did you mean 'licence'?"),
        (('name = "tickets"', 'name = "../x"'), "name: string should match pattern"),
        (('name = "tickets"', 'name = "Super_NI"'), "name: string should match pattern"),
        (('name = "tickets"', 'name = "super-ni"'), "'super-ni' is taken by"),
        (('kind = "text-classification"', 'kind = "texts"'), "not 'texts'"),
        (('title = "Support tickets"', ""), "title: is required"),
        (('label = "label", ', ""), "a stream of kind text-classification needs 'label'"),
        (('path = "tickets.csv"', 'pth = "tickets.csv"'), "table.source: unknown key 'pth', did you mean"),
        (('path = "tickets.csv"', 'train = "tickets.csv"'), "needs both train and test"),
        (('path = "tickets.csv"', 'hub = "../../etc"'), "table.source.hub: string should match pattern"),
        (('task = "task", ', ""), "[table] needs either columns.task or [cut]"),
        (("[protocol.smoke]", "[protocol.slow]"), "needs a [protocol.smoke]"),
        (("[protocol.smoke]", '[protocol."../x"]'), "a name consists of letters, digits and dashes"),
        (("validation = 0.0", "epoch = 3"), "protocol.smoke: unknown key 'epoch', did you mean 'epochs'?"),
        (("validation = 0.0", "epochs = 0"), "protocol.smoke.epochs: input should be greater than or equal"),
        (('backbone = "minilm"', ""), "protocol.smoke.backbone: is required"),
        (("validation = 0.0", "validation = "), "is not TOML"),
    ],
)
def test_a_slip_in_the_file_is_one_line_with_the_key(
    changed: tuple[str, str], words: str, tmp_path: Path
) -> None:
    rows(tmp_path, *GOOD)
    text = HEAD + TABLE + SMOKE
    assert changed[0] in text
    lines = faults(write(tmp_path, text.replace(*changed)))
    assert any("my-stream.toml" in line and words in line for line in lines), lines


def test_the_former_name_of_the_first_protocol_is_read(tmp_path: Path) -> None:
    rows(tmp_path, *GOOD)
    text = (HEAD + TABLE + SMOKE).replace("[protocol.smoke]", "[protocol.quick]")
    assert list(read_stream(write(tmp_path, text)).protocols) == ["smoke"]
    (line,) = faults(write(tmp_path, text.replace("validation = 0.0", "epoch = 3")))
    number = text[: text.index("validation = 0.0")].count("\n") + 1
    assert f"line {number}" in line and "protocol.quick: unknown key 'epoch'" in line
    both = read_stream(write(tmp_path, text + '[protocol.smoke]\nbackbone = "minilm"\n'))
    assert list(both.protocols) == ["smoke", "quick"]


def test_slips_are_all_reported_with_their_lines(tmp_path: Path) -> None:
    text = """# A comment.
name = "tickets"
titel = "Support tickets"
kind = "text-classification"
licence = "internal"
classes = 3

[[tasks]]
name = "one"
source = { path = "a.csv" }
columns = { txt = "text", labl = "label" }

[[tasks]]
name = "two"
source = { path = "b.csv" }
classes = [
    "yes",
    "no",
    "yes",
]
metric = "exact-match"
sise = 3

[orders]
"a/b" = "natural"

[protocol.smoke]
backbone = "minilm"
epoch = 2
valid = 0.1

[protocol.slow]
epochs = 0
"""
    path = write(tmp_path, text)
    reported = [line.removeprefix(f"{path}").partition(" (valid: ")[0] for line in faults(path)]
    assert reported == [
        ", line 3: unknown key 'titel', did you mean 'title'?",
        ", line 6: unknown key 'classes', did you mean 'tasks'?",
        ", line 11: tasks[0].columns: unknown key 'txt', did you mean 'text'?",
        ", line 11: tasks[0].columns: unknown key 'labl', did you mean 'label'?",
        ", line 22: tasks[1]: unknown key 'sise', did you mean 'size'?",
        ", line 29: protocol.smoke: unknown key 'epoch', did you mean 'epochs'?",
        ", line 30: protocol.smoke: unknown key 'valid', did you mean 'validation'?",
        ", line 32: protocol.slow.backbone: is required",
        ", line 33: protocol.slow.epochs: input should be greater than or equal to 1, not 0",
        ": title: is required",
    ]
