"""The frozen prefix: read from the disk or computed anew, scores and adapters have the same bits."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.data import row_cache
from benchmark.data.batches import join
from benchmark.errors import UserError
from benchmark.method import Context, Method
from benchmark.models import prefix_store
from benchmark.models.make import make_task_model
from benchmark.models.prefix_cache import FrozenPrefix, make_prefix, pad_states
from benchmark.registry import METHODS
from benchmark.running.checkpoint import reseed
from benchmark.running.training import evaluate
from tests import tiny

KINDS = ("image", "encoder", "seq2seq", "causal")
TASKS = 2


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give every test an empty cache."""
    monkeypatch.setenv(row_cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(prefix_store.VARIABLE, raising=False)
    yield tmp_path / "cache" / prefix_store.KIND


def prefixed(key: str, kind: str, plain: bool = False, **settings: Any) -> Method:
    """Return a method as the learner builds it; `plain` leaves the frozen prefix out."""
    chosen, stream, backbone = tiny.protocol(kind, **settings), tiny.tasks(kind, TASKS), tiny.backbone(kind)
    made = METHODS.load(key)
    task_model = make_task_model(backbone, stream, chosen, made.probes)
    if not plain:
        task_model.prefix = make_prefix(backbone, chosen, made.changes, made.probes)
    reseed(0, "build")
    return made(Context(task_model, chosen, len(stream)), made.Hyperparameters())


def learned(method: Method) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Return the state after all tasks, and every score on the way."""
    scores = []
    for t in range(TASKS):
        tiny.learn(method, t)
        for i in range(t + 1 if method.training_tasks(t) else 0):
            scores.append(evaluate(method, i, tiny.rows(method, i, "test"), method.task_model.tasks[i].test))
    return method.state(), scores


def count_runs(block: Any) -> list[int]:
    """Return a list that grows by one whenever the block's attention runs."""
    runs: list[int] = []
    inner = next(part for name, part in block.named_modules() if name and "ttention" in type(part).__name__)
    inner.register_forward_pre_hook(lambda *_: runs.append(1))
    return runs


@tiny.everywhere()
def test_stored_and_computed_states_give_the_same_bytes(
    key: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "vector":
        pytest.skip("a vector backbone has no blocks")
    first, first_scores = learned(prefixed(key, kind, blocks="last:1"))
    again, again_scores = learned(prefixed(key, kind, blocks="last:1"))
    monkeypatch.setenv(prefix_store.VARIABLE, "0")
    anew, anew_scores = learned(prefixed(key, kind, blocks="last:1"))
    assert tiny.same(first, again) and tiny.same(first, anew)
    assert first_scores == again_scores == anew_scores


@pytest.mark.parametrize("key", ["seq-lora", "frozen"])
def test_an_image_model_answers_as_without_a_prefix(key: str) -> None:
    """Images are never padded, so the whole model on a whole batch gives the same bits as well."""
    cached, plain = (prefixed(key, "image", without, blocks="last:1") for without in (False, True))
    (state, scores), (other, others) = learned(cached), learned(plain)
    assert tiny.same(state, other) and scores == others


def test_a_language_model_that_nothing_changes_reads_its_lower_blocks_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = []
    for limit in ("20", "20", "0"):
        monkeypatch.setenv(prefix_store.VARIABLE, limit)
        method = prefixed("frozen", "causal", blocks="last:1", decoding="labels-sum")
        assert method.task_model.prefix is not None and method.task_model.prefix.tail is not None
        below, _ = (count_runs(block) for block in method.task_model.prefix.tail.stack.blocks)
        scores.append(learned(method)[1])
        assert bool(below) == (len(scores) != 2)  # of the second run alone they were stored
    assert scores[0] == scores[1] == scores[2] and any(scores[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_run_does_not_pass_through_the_prefix(kind: str) -> None:
    learned(prefixed("seq-lora", kind, blocks="last:1"))
    method = prefixed("seq-lora", kind, blocks="last:1")
    assert method.task_model.prefix is not None and method.task_model.prefix.tail is not None
    below, above = (count_runs(block) for block in method.task_model.prefix.tail.stack.blocks)
    learned(method)
    # A T5's first attention is asked for its position bias, but not run.
    assert below == [] and len(above) > 0


@pytest.mark.parametrize("kind", ["image", "encoder", "causal"])
def test_what_lies_below_counts_once_a_row_wherever_it_is_read_from(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two equal blocks the lower one counts once, the upper one 3 times in each of 2 epochs: 1/2 + 3."""
    counts = []
    for limit in ("20", "20", "0"):
        monkeypatch.setenv(prefix_store.VARIABLE, limit)
        method = prefixed("seq-lora", kind, blocks="last:1", epochs=2)
        counter = method.task_model.backbone.passes
        tiny.learn(method, 0)
        counts.append(counter.total)
    rows = len(tiny.rows(method, 0))
    assert counts[0] == pytest.approx(rows * (1 / 2 + 2 * 3 / 2))
    assert counts[0] == counts[1] == counts[2], "made, read, and computed for every batch"


def test_whole_features_are_read_where_nothing_changes() -> None:
    learned(prefixed("ncm", "encoder"))
    method = prefixed("ncm", "encoder")
    runs: list[int] = []
    method.task_model.backbone.module.register_forward_pre_hook(lambda *_: runs.append(1))
    learned(method)
    assert runs == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_tail_continues_what_the_whole_model_does(kind: str) -> None:
    """Fed with the whole model's own hidden states of one unpadded row, the tail gives its very output."""
    method = prefixed("seq-lora", kind, blocks="last:1")
    task_model = method.task_model
    task_model.begin_task([0])
    batch = tiny.rows(method, 0).batch([3], True)
    plain = batch.inputs.copy()
    assert plain.pop("prefix").shape[0] == 1
    module: Any = task_model.backbone.module
    more = {"labels": batch.targets} if batch.targets is not None else {}
    with torch.no_grad():
        fed, whole = (module(**inputs, **more)[0] for inputs in (batch.inputs, plain))
    assert torch.equal(fed, whole)


def test_methods_that_touch_the_input_have_no_prefix() -> None:
    for key in ("l2p", "dual-prompt", "coda-prompt", "progressive-prompts"):
        assert prefixed(key, "image", blocks="last:1").task_model.prefix is None
    assert prefixed("seq-lora", "image").task_model.prefix is None, "all blocks: nothing lies below"


def test_augmented_images_have_no_states_while_training() -> None:
    method = prefixed("seq-lora", "image", blocks="last:1", augmentation="crop")
    rows = tiny.rows(method, 0)
    assert "prefix" not in rows.batch([0], True).inputs
    assert "prefix" in rows.batch([0]).inputs


def test_other_weights_rows_blocks_and_formats_are_other_entries(cache: Path) -> None:
    def entries() -> int:
        return len(list(cache.glob("*/entry.json")))

    def read(method: Method, t: int = 0) -> None:
        tiny.rows(method, t).batch([0])

    read(prefixed("seq-lora", "image", blocks="last:1"))
    read(prefixed("sd-lora", "image", blocks="1"))
    assert entries() == 1, "the same block of the same weights on the same rows"
    read(prefixed("seq-lora", "image", blocks="last:1"), 1)
    read(prefixed("seq-lora", "image", blocks="last:1", pixels="unit"))
    read(prefixed("seq-lora", "image", blocks="last:1", prefix_dtype="bfloat16"))
    assert entries() == 4
    chosen, stream = tiny.protocol("image", blocks="last:1"), tiny.tasks("image")
    other_weights, reconfigured = tiny.backbone("image"), tiny.backbone("image")
    other_weights.weights_hash = "0" * 64
    # The same weights normalise otherwise by another configuration.
    reconfigured.module.config.layer_norm_eps = 0.5
    for count, backbone in enumerate((other_weights, reconfigured), start=5):
        task_model = make_task_model(backbone, stream, chosen)
        task_model.prefix = make_prefix(backbone, chosen, "blocks")
        task_model.encode(stream[0], stream[0].train).batch([0])
        assert entries() == count


@pytest.mark.parametrize(("dtype", "bound"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_a_half_precision_store_rounds_once(dtype: str, bound: float, cache: Path) -> None:
    """float16 keeps 11 significant bits and bfloat16 8: half a unit in the last place is 2^-11 and 2^-8."""
    exact, rounded = (
        tiny.rows(prefixed("seq-lora", "encoder", blocks="last:1", prefix_dtype=name), 0)
        .batch([0, 1])
        .inputs["prefix"]
        for name in ("float32", dtype)
    )
    assert not torch.equal(exact, rounded)
    assert ((exact - rounded).abs() <= bound * exact.abs().clamp(min=2**-14)).all()
    sizes = sorted(path.stat().st_size for path in cache.glob("*/states.npy"))
    assert sizes[1] - 128 == 2 * (sizes[0] - 128), "half the bytes behind a header of 128"


def test_states_are_padded_as_tokens_are() -> None:
    short, long = torch.ones(1, 2), torch.full((3, 2), 2.0)
    assert pad_states([short, long], left=False)[0].tolist() == [[1, 1], [0, 0], [0, 0]]
    assert pad_states([short, long], left=True)[0].tolist() == [[0, 0], [0, 0], [1, 1]]


def test_joined_batches_pad_states_or_leave_them_out() -> None:
    rows = tiny.rows(prefixed("seq-lora", "encoder", blocks="last:1"), 0)
    batches = [rows.batch([row]) for row in range(4)]
    together = join(batches).inputs
    assert together["prefix"].shape[:2] == together["input_ids"].shape
    del batches[2].inputs["prefix"]
    assert "prefix" not in join(batches).inputs


def test_a_damaged_entry_is_made_again(cache: Path) -> None:
    rows = tiny.rows(prefixed("seq-lora", "image", blocks="last:1"), 0)
    before = rows.batch([0, 1]).inputs["prefix"]
    (states,) = cache.glob("*/states.npy")
    states.write_bytes(states.read_bytes()[:200])
    after = tiny.rows(prefixed("seq-lora", "image", blocks="last:1"), 0).batch([0, 1]).inputs["prefix"]
    assert torch.equal(before, after) and states.stat().st_size > 200


def test_what_does_not_fit_is_computed_and_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tiny.rows(prefixed("seq-lora", "image", blocks="last:1"), 0).batch([0]).inputs["prefix"]
    monkeypatch.setenv(prefix_store.VARIABLE, "0.000001")
    again = prefixed("seq-lora", "image", blocks="last:1", pixels="unit")
    assert "prefix" in tiny.rows(again, 0).batch([0]).inputs
    assert "not stored" in caplog.text and "BENCH_PREFIX_GB=1e-06" in caplog.text
    assert len(list(cache.glob("*/entry.json"))) == 1 and not list(cache.glob(".*.tmp"))
    assert kept.shape[0] == 1


def test_a_full_disk_leaves_nothing_half_made(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr(prefix_store.shutil, "disk_usage", lambda _: full)
    rows = tiny.rows(prefixed("seq-lora", "image", blocks="last:1"), 0)
    assert "prefix" in rows.batch([0]).inputs
    assert "are free" in caplog.text
    assert not list(cache.glob("*/entry.json")) and not list(cache.glob(".*.tmp"))


def test_the_longest_unused_goes_first_but_nothing_of_the_last_hour(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three entries of equal size under a limit of two and a half: the third makes the oldest go."""
    for t in range(2):
        tiny.rows(prefixed("seq-lora", "image", blocks="last:1"), t).batch([0])
    manifests = sorted(cache.glob("*/entry.json"), key=lambda path: path.stat().st_mtime)
    size = sum(file.stat().st_size for file in manifests[0].parent.iterdir())
    monkeypatch.setenv(prefix_store.VARIABLE, str(2.5 * size / 1e9))
    tiny.rows(prefixed("seq-lora", "image", blocks="last:1"), 1, "test").batch([0])
    assert all(path.exists() for path in manifests), (
        "both were used within the hour, so the third is not stored"
    )
    for age, path in ((7200, manifests[1]), (9000, manifests[0])):
        os.utime(path, (time.time() - age,) * 2)
    tiny.rows(prefixed("seq-lora", "image", blocks="last:1"), 1, "test").batch([0])
    assert [path.exists() for path in manifests] == [False, True]
    assert len(list(cache.glob("*/entry.json"))) == 2


@pytest.mark.parametrize("value", ["much", "-1", "inf", "nan"])
def test_a_limit_that_is_no_number_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(prefix_store.VARIABLE, value)
    with pytest.raises(UserError, match="expected gigabytes"):
        prefix_store.limit()


def test_rows_that_round_otherwise_together_go_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose values depend on how many rows it is given: each row's must be those it has alone."""
    backbone = tiny.backbone("image")
    prefix = FrozenPrefix(backbone, 1, "float32")
    monkeypatch.setattr(prefix, "_run", lambda given: given["x"].repeat(1, 1, 2) * len(given["x"]))
    given = [{"x": torch.full((1, 3, 2), float(row + 1))} for row in range(5)]
    assert [state[0, 0].item() for state in prefix.states(given)] == [1, 2, 3, 4, 5]


def test_a_manifest_names_what_the_states_depend_on(cache: Path) -> None:
    tiny.rows(prefixed("seq-lora", "image", blocks="last:1"), 0).batch([0])
    (manifest,) = cache.glob("*/entry.json")
    key = json.loads(manifest.read_text())["key"]
    assert torch.__version__ in key and "layers" in key and any(len(part) == 64 for part in key)
    assert np.load(manifest.parent / "offsets.npy").tolist() == [5 * row for row in range(13)], (
        "4 patches and CLS"
    )
