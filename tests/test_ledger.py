"""Published numbers: read strictly, and compared with ours only where the setting is the same."""

import pytest

from benchmark.errors import UserError
from benchmark.publishing.ledger import build, judge, read_sources
from tests.command import ROOT
from tests.factories import counts, result, save

TOML = """
title = "A | paper"
where = "arXiv 0000.00000"

[[table]]
place = "Table 1"
sure = "paper"
stream = "orchard"
setting = "3 tasks"
protocol = "tiny"
backbone = "seed"
numbers = [
  { method = "alpha", value = 70.5, convention = "average_performance", orders = ["forward"] },
  { method = "alpha", value = 75.0, convention = "average_performance", orders = ["forward"] },
  { method = "alpha", value = 3, convention = "active_adapters" },
  { method = "alpha", value = 70.0, convention = "average_performance", orders = ["forward", "back"] },
  { method = "gamma", value = 10.0, convention = "forgetting" },
]
"""


def written(root, text=TOML):
    path = root / "published" / "paper.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[run.strip() for run in line.split("|")[1:-1]] for line in lines[2:]]


def test_the_verdict_is_matches_differs_or_not_comparable(tmp_path):
    written(tmp_path)
    save(tmp_path, *(result(seed=s) for s in range(3)))  # AP (0.6 + 0.6 + 0.9) / 3 = 70 of 100
    text = build(tmp_path, tmp_path).read_text()
    found = [row[4:] for row in rows(text)]
    assert found[0] == ["70.00", "-0.50", "matches (n = 3)"]
    assert found[1] == ["70.00", "-5.00", "differs (n = 3)"]
    assert found[2] == ["3.00", "+0.00", "matches (n = 3)"]
    assert found[3] == ["70.00", "", "not comparable: no runs of order back under that protocol and backbone"]
    assert found[4] == ["", "", "not measured"]
    assert r"A \| paper" in text and "do not edit" in text


def test_another_backbone_is_shown_but_not_compared(tmp_path):
    (source,) = read_sources(written(tmp_path).parent)
    table = source.table[0]
    other = result(backbone="twig")
    values, verdict = judge(table.numbers[0], table, [other])
    assert values == [pytest.approx(70.0)]
    assert verdict == "not comparable: backbone twig, not seed"


def test_adapters_are_counted_after_the_last_task(tmp_path):
    (source,) = read_sources(written(tmp_path).parent)
    table = source.table[0]
    run = result().model_copy(update={"parameters": counts(active=1)})
    assert judge(table.numbers[2], table, [run]) == ([1.0], "differs (n = 1)")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('sure = "paper"', 'sure = "memory"', "sure"),
        ('"average_performance"', '"accuracy"', "unknown convention 'accuracy'"),
        ("value = 70.5", "value = nan", "finite"),
        ("value = 70.5", "value = 70.5, worth = 1", "unknown key 'worth'"),
        ("[[table]]", "[[table", "is not TOML"),
    ],
)
def test_a_bad_file_is_named(tmp_path, old, new, word):
    written(tmp_path, TOML.replace(old, new, 1))
    save(tmp_path, result())
    with pytest.raises(UserError, match=r"paper\.toml") as caught:
        build(tmp_path, tmp_path)
    assert word in str(caught.value)


def test_no_published_numbers_is_one_line(tmp_path):
    save(tmp_path, result())
    with pytest.raises(UserError, match="no published numbers"):
        build(tmp_path, tmp_path)


def test_the_committed_ledger_is_the_generated_one(tmp_path):
    made = build(ROOT / "leaderboards", tmp_path)
    assert made.read_bytes() == (ROOT / "leaderboards" / "ledger.md").read_bytes()
