"""The reference pages of the documentation: all that is registered, and no mark that markdown would eat."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field
from typer.main import get_command

from benchmark.cli import app
from benchmark.registry import BACKBONES, LOGGERS, METHODS, STREAMS
from benchmark.scoring.metrics import CONVENTIONS
from tests.command import ROOT


def hook() -> Any:
    found = importlib.util.spec_from_file_location("reference_pages", ROOT / "scripts" / "reference_pages.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


reference = hook()


@cache
def pages() -> dict[str, str]:
    written: dict[str, str] = reference.pages()
    return written


def test_each_method_and_stream_has_a_page_with_its_settings() -> None:
    for name in METHODS.names():
        page = pages()[f"methods/{name}.md"]
        assert page.startswith(f"# {name}\n")
        assert all(f"| `{field}` |" in page for field in METHODS.load(name).Hyperparameters.model_fields), (
            name
        )
    for name in STREAMS.names():
        page = pages()[f"streams/{name}.md"]
        assert all(f"### {protocol}\n" in page for protocol in STREAMS.load(name).protocols), name


def test_each_backbone_logger_and_convention_has_a_heading() -> None:
    listed = {
        "backbones.md": BACKBONES.names(),
        "loggers.md": LOGGERS.names(),
        "metrics.md": list(CONVENTIONS),
    }
    for page, names in listed.items():
        headings = set(re.findall(r"^##+ (\S+)$", pages()[page], re.MULTILINE))
        assert set(names) <= headings, page


def test_each_command_shown_has_its_flags() -> None:
    sections = dict(re.findall(r"^## (bench [^\n]+)\n(.*?)(?=^## |\Z)", pages()["commands.md"], re.M | re.S))
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        if command.hidden or hasattr(command, "commands"):
            continue
        for parameter in command.params:
            written = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.opts[0].lower()
            assert written in sections[f"bench {name}"].lower(), (name, written)
    assert "bench data verify" in sections and "bench plan" not in sections


def test_marks_mean_themselves_outside_code() -> None:
    assert reference.escape("sum_k B_k * [x]") == r"sum\_k B\_k \* \[x\]"
    assert reference.escape("the `lora_A` of a_b") == r"the `lora_A` of a\_b"


def test_a_docstring_keeps_its_formulas_and_lists_its_arguments() -> None:
    text = "A sum:\n\n    W x + B_k A_k x\n\nArgs:\n    first: a_b,\n        and more.\n    second: c."
    assert reference.prose(text) == (
        "A sum:\n\n    W x + B_k A_k x\n\nArgs:\n\n- first: a\\_b,\n  and more.\n- second: c."
    )


def test_a_field_is_written_with_type_default_limits_and_meaning() -> None:
    class Settings(BaseModel):
        rate: float | None = Field(0.5, gt=0, le=1, description="of a_b")
        name: str

    assert reference.fields(Settings).splitlines()[2:] == [
        r"| `rate` | `float | None` | `0.5` | > 0, ≤ 1 | of a\_b |",
        "| `name` | `str` | required |  |  |",
    ]


def test_a_span_and_a_choice_of_a_search_are_written_out() -> None:
    assert reference.values_tried({"low": 0.05, "high": 5, "log": True}) == "0.05 to 5, logarithmic"
    assert reference.values_tried([0.001, "sgd"]) == "`0.001`, `sgd`"


BOARD = """# digits

### Rehearsal-free

| method | could be best | AP ↑ | n |
|:-------|:--------------|-----:|--:|
| first | yes | 71.7 ± 2.9 | 3 |
| second | yes | 70.0 ± 1.0 | 3 |

#### Compared: rehearsal-free

| method | mean rank ↓ |
|:-------|------------:|
| first | 1.0 |

### Stored class statistics

| method | could be best | AP ↑ | n |
|:-------|:--------------|-----:|--:|
| best | yes | **99.3 ± 0.2** | 3 |
| frozen (classifier alignment) | | 92.9 ± 0.5 | 3 |
| ncm | | 92.6 ± 0.2 | 3 |

### Costs

| method | stored ↓ |
|:-------|---------:|
| ncm | 0 |
"""


def test_figures_are_the_first_row_of_each_table_and_the_named_ones(tmp_path: Path) -> None:
    path = tmp_path / "digits.md"
    path.write_text(BOARD, encoding="utf-8")
    assert reference.readings(path).splitlines()[2:] == [
        "| `first` | Rehearsal-free | 71.7 ± 2.9 |",
        "| `best` | Stored class statistics | 99.3 ± 0.2 |",
        "| `ncm` | Stored class statistics | 92.6 ± 0.2 |",
    ]


def test_the_published_board_has_the_figures_that_a_page_asks_for() -> None:
    asked = [
        found
        for page in (ROOT / "docs").rglob("*.md")
        for found in reference.FIGURES.findall(page.read_text(encoding="utf-8"))
    ]
    assert asked == ["digits"]
    text = reference.on_page_markdown("<!-- figures: digits -->")
    published = (ROOT / "leaderboards" / "digits.md").is_file()
    assert ("| `ncm` |" in text and "| `joint" in text) or (not published and "yet" in text)
