"""Overlaps of adapters on subspaces made by hand, and what removing an adapter does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from benchmark.analysis import redundancy
from benchmark.analysis.leave_one_out import LeaveOneOut, Removal, remove_each, with_stack
from benchmark.analysis.run_analysis import Depth, RunAnalysis, analyse_run
from benchmark.analysis.subspaces import (
    effect_residual,
    expected_overlap,
    expected_residual,
    overlap,
    random_effect_residual,
    residual,
    update,
)
from benchmark.analysis.task_inputs import ROWS, evenly, task_inputs
from benchmark.errors import UserError
from benchmark.publishing.redundancy_page import write_page
from benchmark.results import read, write
from benchmark.running.driver import run as run_all
from benchmark.running.plan import plan
from tests import tiny
from tests.command import assert_one_line_error, bench
from tests.factories import result, stream_file

EYE = np.eye(6)


def adapter(rows, columns, values):
    """Return down and up factors with given unit rows and columns, and singular values."""
    return EYE[list(rows)] * np.array(values)[:, None], EYE[:, list(columns)]


def test_identical_orthogonal_and_half_shared_subspaces():
    one, other = update(*adapter((0, 1), (0, 1), (3, 1))), update(*adapter((2, 3), (1, 2), (2, 2)))
    assert overlap(one.rows, one.rows) == pytest.approx(1.0, abs=1e-12)
    assert overlap(one.rows, other.rows) == pytest.approx(0.0, abs=1e-12)
    # Columns {0, 1} and {1, 2} share one direction of two: cosines 1 and 0, squares' mean 1/2.
    assert overlap(one.columns, other.columns) == pytest.approx(0.5, abs=1e-12)


def test_one_subspace_inside_another_overlaps_fully():
    small, large = update(*adapter((0,), (0,), (1,))), update(*adapter((0, 1, 2), (0, 1, 2), (1, 1, 1)))
    assert overlap(small.rows, large.rows) == pytest.approx(1.0)


def test_an_angle_is_squared():
    # Directions 60 degrees apart: cos^2 = 1/4.
    turned = np.zeros((1, 6))
    turned[0, :2] = 0.5, 0.75**0.5
    assert overlap(EYE[:, :1], turned.T) == pytest.approx(0.25)


def test_random_subspaces_overlap_as_expected():
    generator = np.random.default_rng(0)
    drawn = [np.linalg.qr(generator.normal(size=(64, rank)))[0] for rank in (4, 4, 8) for _ in range(200)]
    equal = [overlap(a, b) for a, b in zip(drawn[:200], drawn[200:400], strict=True)]
    unequal = [overlap(a, b) for a, b in zip(drawn[:200], drawn[400:], strict=True)]
    assert expected_overlap(drawn[0], drawn[200]) == 4 / 64
    assert expected_overlap(drawn[0], drawn[400]) == 8 / 64
    assert np.mean(equal) == pytest.approx(4 / 64, rel=0.05)
    assert np.mean(unequal) == pytest.approx(8 / 64, rel=0.05)


def test_ranks_of_known_spectra():
    # Equal values: both ranks count them. Values 3 and 1: shares 3/4 and 1/4.
    flat = update(*adapter((0, 1, 2), (0, 1, 2), (2, 2, 2)))
    assert flat.effective_rank == pytest.approx(3.0) and flat.stable_rank == pytest.approx(3.0)
    steep = update(*adapter((0, 1), (0, 1), (3, 1)))
    assert steep.stable_rank == pytest.approx(10 / 9)  # (9 + 1) / 9
    assert steep.effective_rank == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    nothing = update(np.ones((2, 6)), np.zeros((6, 2)))
    assert nothing.effective_rank == nothing.stable_rank == 0.0 and len(nothing.values) == 0
    assert overlap(nothing.rows, flat.rows) is None


def test_a_lost_direction_is_not_counted():
    # B maps the second row to zero: the update has one direction, whatever A holds.
    down, up = EYE[:2], np.stack([EYE[:, 0], np.zeros(6)], axis=1)
    found = update(down, up)
    assert found.rows.shape == (6, 1) and abs(found.rows[0, 0]) == pytest.approx(1.0)


def test_the_residual_of_a_combination_is_zero():
    first, second = adapter((0, 1), (0, 1), (3, 1)), adapter((2, 3), (1, 2), (2, 2))
    # 2 D1 - D2 as one adapter of rank 4
    mixed = np.concatenate([2 * first[0], -second[0]]), np.concatenate([first[1], second[1]], axis=1)
    assert residual(mixed, [first, second]) == pytest.approx(0.0, abs=1e-12)
    # Without D2: |D2| / |2 D1 - D2| = sqrt 8 / sqrt (4 * 10 + 8)
    assert residual(mixed, [first]) == pytest.approx((8 / 48) ** 0.5)
    assert residual(first, [second]) == pytest.approx(1.0)
    assert residual(first, []) == 1.0
    assert residual((np.zeros((1, 6)), np.zeros((6, 1))), [first]) is None


def test_the_effect_is_fitted_where_the_inputs_lie():
    first, second = adapter((0,), (0,), (1,)), adapter((0, 1), (0, 1), (1, 1))
    # As updates: D1 = e0 e0^T is fitted to D2 = e0 e0^T + e1 e1^T with 1; one of two equal parts is left.
    assert residual(second, [first]) == pytest.approx(0.5**0.5)
    # Inputs along e0 see no difference, those along e1 nothing of D1, those along e2 no effect at all.
    assert effect_residual(second, [first], EYE[:1]) == pytest.approx(0.0, abs=1e-12)
    assert effect_residual(second, [first], EYE[1:2]) == pytest.approx(1.0)
    assert effect_residual(second, [first], EYE[2:]) is None
    # X = (2 e0, e1): X D2^T has the entries 2 and 1, X D1^T the entry 2. Left is 1 of a norm of sqrt 5.
    assert effect_residual(second, [first], EYE[:2] * [[2], [1]]) == pytest.approx(5**-0.5)


def test_random_adapters_leave_what_chance_leaves():
    flat = np.eye(2)
    target, earlier = (flat[:1], flat[:, :1]), [(flat[1:], 3 * flat[:, 1:])]
    # As updates: a random direction among 2 x 2 holds 1/4 of the square of any given one.
    assert expected_residual(target, earlier) == pytest.approx(0.75**0.5)
    # On inputs along e0 alone an effect is a direction of the plane of outputs. Of a random one the target's
    # has the sine left: mean square 1/2. The learned adapter, blind to e0, leaves everything.
    drawn = random_effect_residual(target, earlier, flat[:1], seed=(0,), draws=4000)
    assert drawn == pytest.approx(0.5**0.5, abs=0.01)
    assert effect_residual(target, earlier, flat[:1]) == pytest.approx(1.0)
    # On all inputs alike the effect is the update.
    same = random_effect_residual(target, earlier, flat, seed=(0,), draws=4000)
    assert same == pytest.approx(0.75**0.5, abs=0.01)
    assert random_effect_residual(target, earlier, flat, (0,)) == random_effect_residual(
        target, earlier, flat, (0,)
    )
    nothing = (np.zeros((1, 2)), np.zeros((2, 1)))
    assert expected_residual(nothing, earlier) is None
    assert random_effect_residual(nothing, earlier, flat, (0,)) is None
    assert expected_residual(target, [nothing]) == 1.0
    assert random_effect_residual(target, [nothing], flat, (0,)) == pytest.approx(1.0)


def test_several_random_adapters_leave_less_of_any_rank():
    generator = np.random.default_rng(2)
    adapters = [(generator.normal(size=(2, 4)), generator.normal(size=(3, 2))) for _ in range(4)]
    # Three of twelve directions: 1 - 3/12 of the square.
    assert expected_residual(adapters[0], adapters[1:]) == pytest.approx(0.75**0.5)
    drawn = random_effect_residual(adapters[0], adapters[1:], np.eye(4), (1,), draws=2000)
    assert drawn == pytest.approx(0.75**0.5, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 12))
def test_the_effect_residual_is_that_of_the_outputs(seed, rank, tokens):
    generator = np.random.default_rng(seed)
    adapters = [(generator.normal(size=(rank, 9)), generator.normal(size=(7, rank))) for _ in range(3)]
    x = generator.normal(size=(tokens, 9))
    target, *design = [(x @ (up @ down).T).ravel() for down, up in adapters]
    design = np.stack(design, axis=1)
    left = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    expected = np.linalg.norm(left) / np.linalg.norm(target)
    assert effect_residual(adapters[0], adapters[1:], x) == pytest.approx(expected, abs=1e-9)


def test_places_lie_evenly():
    # 10 of 4: every 2.5th, rounded down.
    assert evenly(10, 4).tolist() == [0, 2, 5, 7]
    assert evenly(3, 4).tolist() == [0, 1, 2] and evenly(0, 4).tolist() == []


def test_the_page_keeps_what_is_written_around_its_tables(tmp_path):
    page = tmp_path / "page.md"
    adapters = {t: {"q": adapter((t, t + 1), (0, 1), (1, 1))} for t in range(2)}
    # Row spaces {0, 1} and {1, 2} share one direction of two. D2 = e0 e1^T + e1 e2^T has no part along D1.
    found = redundancy.of_adapters(result(), adapters, {1: {"q": EYE}})
    removed = LeaveOneOut(result(), (Removal(1, [-0.3, 0.0, -0.6], 4),), True, 30)
    write_page([RunAnalysis(found, removed)], page)
    first = page.read_text()
    row = next(line for line in first.splitlines() if line.startswith("|      2"))
    # Random subspaces of rank 2 in 6 dimensions share 2/6 of it; the column spaces are equal.
    numbers = ["2", "2.00", "2.00", "0.500", "1.5", "1.000", "3.0", "1.0000", "0.9860", "1.0000"]
    runs = [run.strip() for run in row.split("|")[1:-1]]
    # A random adapter in the place of the first leaves sqrt(35/36) of the update, and nearly that of its
    # effect.
    assert runs[: len(numbers)] == numbers and runs[-2:] == ["-30.0", "4 of 30"]
    assert float(runs[len(numbers)]) == pytest.approx((35 / 36) ** 0.5, abs=0.02)
    page.write_text(
        first.replace("## orchard", "## orchard\n\nApples differ from pears.").replace("0.500", "0.7")
    )
    write_page([RunAnalysis(found, removed)], page)
    assert page.read_text() == first.replace("## orchard", "## orchard\n\nApples differ from pears.")
    page.write_text("<!-- /redundancy:orchard -->\n<!-- redundancy:orchard -->\n")
    with pytest.raises(UserError, match="needs the line <!-- redundancy:orchard -->"):
        write_page([RunAnalysis(found, removed)], page)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
def test_properties_of_any_two_updates(seed, one, other):
    generator = np.random.default_rng(seed)
    first = generator.normal(size=(one, 9)), generator.normal(size=(7, one))
    second = generator.normal(size=(other, 9)), generator.normal(size=(7, other))
    left, right = update(*first), update(*second)
    value = overlap(left.rows, right.rows)
    assert 0 <= value <= 1 + 1e-12 and value == pytest.approx(overlap(right.rows, left.rows))
    assert 1 - 1e-9 <= left.stable_rank <= one + 1e-9
    assert 1 - 1e-9 <= left.effective_rank <= one + 1e-9
    np.testing.assert_allclose(left.columns * left.values @ left.rows.T, first[1] @ first[0], atol=1e-9)
    assert 0 <= residual(first, [second]) <= 1 + 1e-12


def test_scale_changes_no_subspace():
    generator = np.random.default_rng(1)
    down, up = generator.normal(size=(2, 8)), generator.normal(size=(8, 2))
    assert overlap(update(down, up).rows, update(1e-6 * down, 1e3 * up).rows) == pytest.approx(1.0)


def test_adapters_of_all_tasks_are_compared_at_every_layer():
    adapters = {
        t: {"q": adapter((t, t + 1), (0, 1), (1, 1)), "v": adapter((0, 1), (t, t + 1), (1, 1))}
        for t in range(3)
    }
    found = redundancy.of_adapters(result(), adapters)
    assert len(found.overlaps) == 3 * 2 and len(found.shapes) == 3 * 2
    # At q rows {0, 1} and {1, 2} share half, at v they are equal: mean 3/4. Random ones share 2/6, so 3/2
    # and 3 times as much.
    assert found.mean(0, 1, "rows") == pytest.approx(0.75)
    assert found.mean(0, 1, "rows_over_random") == pytest.approx(2.25)
    assert found.matrix("rows") == pytest.approx(np.array([[1, 0.75, 0.5], [0.75, 1, 0.75], [0.5, 0.75, 1]]))
    assert "1, 2" in redundancy.tables(found)
    json.dumps(found.as_data(), allow_nan=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small finished run with an adapter for each of three tasks."""
    runs = plan("inc-lora", "toy", settings=["tasks=3", "epochs=3", "learning_rate=0.05"])
    (outcome,) = run_all(runs, tmp_path_factory.mktemp("runs"), None, 1, "cpu", False, lambda event: None)
    assert outcome.error is None and outcome.path is not None
    return outcome.path


@pytest.mark.slow
def test_a_finished_run_is_read_from_its_file(run):
    found = analyse_run(run, Depth()).found
    assert found.tasks == (0, 1, 2)
    assert {shape.rank for shape in found.shapes} == {2}
    assert all(0 <= each.rows <= 1 for each in found.overlaps)


@pytest.mark.slow
def test_the_inputs_of_a_layer_are_the_task_s_own_rows(run):
    inputs = task_inputs(run, None)
    *_, loaded = with_stack(read(run), run, None, "")
    assert list(inputs) == [0, 1, 2]
    for task, layers in inputs.items():
        # The one layer of the toy stream's backbone sees the vectors themselves.
        (seen,) = layers.values()
        rows = loaded.tasks[task].train.inputs
        assert len(rows) > ROWS
        np.testing.assert_array_equal(seen, rows[np.arange(ROWS) * len(rows) // ROWS])
    found = redundancy.of_adapters(*redundancy.read_adapters(run), inputs)
    assert [each.effect_residual is None for each in found.shapes] == [True, False, False]
    assert all(0 <= each.effect_residual <= 1 + 1e-9 for each in found.shapes[1:])
    assert "of its effect" in redundancy.tables(found)
    assert "of its effect" not in redundancy.tables(analyse_run(run, Depth()).found)


@pytest.mark.slow
def test_removing_an_adapter_is_told_from_removing_nothing(run, tmp_path):
    found = remove_each(run, None)
    assert found.reproduced and found.rows == sum(task.test for task in read(run).tasks)
    assert len(found.removals) == 3 and found.active == found.reported == 3
    # An adapter whose up factor is zero does nothing, so removing it changes no answer.
    copied = Path(shutil.copy(run, tmp_path / run.name))
    state = load_file(run.with_suffix(".safetensors"))
    (layer,) = {name.removesuffix(".frozen.lora_B") for name in state if name.endswith(".frozen.lora_B")}
    state[f"{layer}.frozen.lora_B"][:, :2] = 0
    save_file(state, copied.with_suffix(".safetensors"), {"run": read(run).key})
    idle = remove_each(copied, None)
    assert idle.removals[0].predictions_changed == 0 and set(idle.removals[0].change) == {0.0}
    assert idle.active == 2 != idle.reported
    assert not idle.reproduced


@pytest.mark.slow
def test_the_command_prints_tables_and_json(run):
    shown = bench("redundancy", run, "--leave-one-out")
    assert shown.returncode == 0, shown.stderr
    assert "row overlap" in shown.stdout and "reports 3 active, which agrees" in shown.stdout
    page = run.with_name("page.md")
    assert bench("redundancy", run, "--effects", "--page", page).stdout.strip().endswith("page.md")
    assert "effect residual" in page.read_text()
    (data,) = json.loads(bench("redundancy", run, "--json").stdout)
    assert {shape["effect_residual"] for shape in data["shapes"]} == {None}
    assert data["method"] == "inc-lora" and len(data["overlaps"]) == 3


def test_a_result_of_a_described_stream_needs_its_file(tmp_path):
    rows = [f"{t},{s},the thing is {a},{a}" for t in "ab" for s in ("train", "test") for a in ("red", "flat")]
    (tmp_path / "things.csv").write_text("\n".join(["task,split,text,label", *rows]), encoding="utf-8")
    files = {name: tmp_path / f"{name}.toml" for name in ("things", "others")}
    for name, path in files.items():
        text = stream_file(str(tiny.folder("encoder")), name) + "rank = 2\nsource_length = 48\n"
        path.write_text(text, encoding="utf-8")
    (done,) = run_all(plan("inc-lora", str(files["things"])), tmp_path, None, 1, "cpu", False, print)
    assert done.error is None
    found = remove_each(done.path, None, [files["others"], files["things"]])
    assert found.reproduced and len(found.removals) == 2
    assert sorted(task_inputs(done.path, None, [files["things"]])) == [0, 1]
    command = ["redundancy", done.path, "--leave-one-out"]
    assert_one_line_error(
        bench(*command), "the stream 'things', which is not listed here; pass --stream FILE"
    )
    wrong = bench(*command, "--stream", files["others"])
    assert_one_line_error(wrong, f"{files['others']} describes 'others'; pass --stream FILE.toml")
    text = (tmp_path / "things.csv").read_text(encoding="utf-8")
    (tmp_path / "things.csv").write_text(text.replace("the thing", "a thing"), encoding="utf-8")
    other = bench(*command, "--stream", files["things"])
    assert_one_line_error(
        other, "the data here are not those of", read(done.path).provenance.data_fingerprint
    )


def test_a_method_without_adapters_says_so(tmp_path):
    path = tmp_path / "one.json"
    write(result(), path)
    with pytest.raises(UserError, match="no adapters at"):
        analyse_run(path, Depth())
    with pytest.raises(UserError, match="keeps no low-rank adapters"):
        redundancy.adapters_of({"head.weight": np.ones(2)}, result())


def test_one_adapter_has_nothing_to_overlap():
    found = redundancy.of_adapters(result(), {0: {"q": adapter((0,), (0,), (1,))}})
    assert "Nothing to compare" in redundancy.tables(found)
