"""Text streams by name: orders and their aliases, published budgets and rates, prompts as published."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmark.commands import inspection
from benchmark.data import prompts
from benchmark.errors import UserError
from benchmark.registry import STREAMS
from benchmark.running import catalogue
from benchmark.running.plan import match_orders, plan
from benchmark.stream import Examples, Task, Wording
from tasks import long_sequence, standard_cl, superni, superni_12

FIVE = ("agnews", "amazon", "dbpedia", "yahoo", "yelp")


def test_in_ten_orders_of_four_tasks_each_stands_at_each_place_two_to_four_times() -> None:
    ten = list(standard_cl.STREAM.orders.values())[:10]
    for place in range(4):
        counts = Counter(order[place] for order in ten if isinstance(order, tuple))
        assert len(counts) == 4 and set(counts.values()) <= {2, 3, 4}


def test_the_standard_benchmark_has_ten_orders_of_four_one_for_searches_and_four_of_five() -> None:
    orders = standard_cl.STREAM.orders
    own = [f"own-{number}" for number in range(4, 12)]
    searched = standard_cl.STANDARD.search
    assert searched is not None and searched.orders == ("own-11",)
    assert list(orders) == ["1", "2", "3", *own, "five-1", "five-2", "five-3", "five-4"]
    for name, order in orders.items():
        assert isinstance(order, tuple)
        expected = FIVE if name.startswith("five") else tuple(task for task in FIVE if task != "yelp")
        assert sorted(order) == sorted(expected)
    assert orders["five-1"] == ("agnews", "yelp", "amazon", "yahoo", "dbpedia")
    assert len(set(orders.values())) == len(orders)


@pytest.mark.parametrize(
    ("alias", "order", "first"),
    [
        ("sapt-4", "6", "yelp"),  # SAPT's code
        ("SAPT_5", "4", "mnli"),
        ("sapt-paper-3", "6", "yelp"),
        ("sapt-paper-4", "4", "mnli"),
        ("gainlora-3", "6", "yelp"),
        ("gainlora-4", "4", "mnli"),
    ],
)
def test_an_alias_plans_the_order_it_stands_for(alias: str, order: str, first: str) -> None:
    (run,) = plan("frozen", "long-sequence", orders=alias)
    assert run.order == order
    assert long_sequence.STREAM.orders[order][0] == first  # type: ignore[index]


def test_an_alias_and_its_order_are_one_run() -> None:
    assert match_orders(long_sequence.STREAM, "long-sequence", "6,sapt-4,gainlora-3") == ["6"]
    assert match_orders(long_sequence.STREAM, "long-sequence", "all") == ["4", "5", "6"]


def test_aliases_are_listed_and_proposed() -> None:
    assert "sapt-4: alias of 6" in inspection.orders("long-sequence").splitlines()
    assert "gainlora-4 = 4" in inspection.stream("long-sequence")
    with pytest.raises(UserError, match=r"'gainlora-5'; did you mean 'gainlora-[34]'"):
        match_orders(long_sequence.STREAM, "long-sequence", "gainlora-5")


@pytest.mark.parametrize("aliases", [{"mine": "9"}, {"4": "5"}])
def test_an_alias_that_leads_nowhere_or_hides_an_order(
    aliases: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(long_sequence.STREAM, aliases=aliases)
    monkeypatch.setattr(STREAMS, "load", lambda name: broken)
    with pytest.raises(UserError, match="must be another name for one of its orders"):
        catalogue.load_stream("long-sequence")


def test_superni_12_has_seekrs_orders() -> None:
    first, second = (superni_12.ORDERS[name] for name in ("1", "2"))
    assert sorted(first) == sorted(second) and len(first) == 12
    assert first[0] == "task1572_samsum_summary" and first[-2] == "task195_sentiment140_classification"
    assert second[:2] == (
        "task748_glucose_reverse_cause_event_detection",
        "task073_commonsenseqa_answer_generation",
    )
    assert set(first) - set(superni.STREAM.orders["1"] or ()) == {  # type: ignore[arg-type]
        "task195_sentiment140_classification"
    }


PUBLISHED = {  # epochs, batch, rank, alpha, dropout, source and target length, learning rate
    ("sapt", "superni", "sapt"): (100, 32, 4, 32, 0.0, 512, 50, 3e-4),
    ("sapt", "long-sequence", "sapt"): (10, 32, 8, 32, 0.0, 512, 50, 3e-4),
    ("gainlora", "superni", "gainlora"): (100, 32, 4, 32, 0.0, 512, 50, 3e-4),
    ("gainlora", "long-sequence", "gainlora"): (10, 32, 8, 32, 0.0, 512, 50, 3e-4),
    ("inflora", "superni", "gainlora"): (100, 32, 4, 32, 0.0, 512, 50, 3e-4),
    ("inflora", "long-sequence", "gainlora"): (10, 32, 8, 32, 0.0, 512, 50, 3e-4),
    ("o-lora", "standard-cl", "olora"): (1, 64, 8, 32, 0.1, 512, 50, 1e-3),
    ("o-lora", "long-sequence", "olora"): (1, 64, 8, 32, 0.1, 512, 50, 1e-3),
    ("seq-lora", "trace", "trace"): (5, 32, 8, 32, 0.1, 1024, 512, 1e-4),
}


@pytest.mark.parametrize("asked", PUBLISHED)
def test_a_planned_run_has_the_published_settings(asked: tuple[str, str, str]) -> None:
    method, stream, protocol = asked
    (run,) = plan(method, stream, protocol=protocol)
    used = run.protocol
    found = (used.epochs, used.batch_size, used.rank, used.alpha, used.dropout)
    lengths = (used.source_length, used.target_length)
    assert (*found, *lengths, run.hyperparameters["learning_rate"]) == PUBLISHED[asked]
    assert used.targets == ("query", "value") and used.selection == "last"
    assert used.schedule == ("cosine" if stream == "trace" else "constant")


def test_sapts_price_of_drift_differs_by_stream() -> None:
    weights = [
        plan("sapt", stream, protocol="sapt")[0].hyperparameters["holding"]
        for stream in ("superni", "long-sequence")
    ]
    assert weights == [0.5, 0.1]


def worded(definition: str) -> Task:
    empty = Examples([], np.zeros(0, np.int64))
    return Task("t", empty, empty, wording=Wording(definition=definition))


def test_sapt_strips_definitions_and_leaves_out_empty_ones() -> None:
    assert "".join(prompts.build("sapt", worded(" Say it.\n"), "x")) == "Say it.\nx\nOutput: "
    assert "".join(prompts.build("sapt", worded(""), "x")) == "x\nOutput: "  # COPA
    before, _, _ = prompts.build("superni", worded(" Say it. "), "x")
    assert before == "Definition: Say it.\n\nNow complete the following example -\nInput: "
