"""Submitting: what cannot be proved is refused with its reason, and then nothing is placed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.data.class_orders import permutation
from benchmark.errors import UserError
from benchmark.publishing import leaderboard
from benchmark.publishing.submission import incomplete, submit, validation_errors
from benchmark.registry import BACKBONES
from benchmark.result_files import read_all
from benchmark.results import TRAINED_HEAD, Provenance, Result, read, write
from benchmark.running.catalogue import load_method, load_stream
from benchmark.running.checkpoint import pack
from benchmark.running.run import Run
from benchmark.scoring.metrics import headline
from tests.command import ROOT, bench
from tests.factories import matrix, provenance, readings, result, timing, with_rows

NAMES = tuple(f"task {number:02d}" for number in range(1, 6))
PROTOCOL = load_stream("digits").protocols["smoke"]
PRINT, OTHER = "f00d" * 16, "bad0" * 16
ORDER = permutation(10, 1993)
made_before = count(1)


def run(seed: int = 0, method: str = "o-lora", data: str = PRINT, **changes: Any) -> Result:
    """Return a result of a registered method, stream and protocol that all checks take, with own times."""
    made = result(
        method,
        seed,
        "1",
        names=NAMES,
        protocol=PROTOCOL,
        stream="digits",
        **facts(method, "vit-nano"),
        provenance=source(data),
        run=0 if seed == 0 else None,
        **changes,
    )
    for t, task in enumerate(made.tasks):
        task.classes = [f"digit {number}" for number in ORDER[2 * t : 2 * t + 2]]
    return keyed(with_rows(made))


def facts(method: str, backbone: str) -> dict[str, Any]:
    """Return what the registry says of a method and a backbone, as a result states it."""
    known, preset = load_method(method), BACKBONES.load(backbone)
    seconds = [float(next(made_before))] * len(NAMES)
    times = timing(len(NAMES)).model_copy(update={"train_seconds": seconds})
    total = sum(seconds) + sum(times.score_seconds)
    return {
        "hyperparameters": known.Hyperparameters().model_dump(mode="json"),
        "needs": asdict(known.needs),
        "reference": known.reference,
        "backbone": backbone,
        "backbone_weights": preset.weights_hash,
        "timing": times.model_copy(update={"total_seconds": total}),
    }


def source(data: str = PRINT, **changes: Any) -> Provenance:
    """Return where a run on digits comes from."""
    given = {"data_fingerprint": data, "backbone_origin": "vit-nano", "class_order": ORDER}
    return provenance(NAMES, **{**given, **changes})


def keyed(made: Result) -> Result:
    key = Run.of(made).key(made.provenance.data_fingerprint)
    return made.model_copy(update={"key": key})


def laid(folder: Path, made: Result, name: str = "run") -> Path:
    """Write a result with its adapters and return the result's path."""
    path = folder / f"{name}.json"
    adapters = pack({"down": torch.ones(2, 3)}, made.key)
    write(made.model_copy(update={"adapters_sha256": sha256(adapters).hexdigest()}), path)
    path.with_suffix(".safetensors").write_bytes(adapters)
    return path


def refused(path: Path, root: Path) -> str:
    """Return the one reason why a result is refused, having checked that nothing was placed."""
    verdict = submit([path], root)
    assert verdict.placed == () and not (root / "results").exists()
    (reason,) = verdict.refused
    assert str(path) in reason and "\n" not in reason
    return reason


def test_sound_results_become_lines_of_one_packed_file(tmp_path):
    paths = [laid(tmp_path / "mine", run(seed), f"run-{seed}") for seed in range(2)]
    verdict = submit([paths[1]], tmp_path / "boards")
    assert submit([paths[0]], tmp_path / "boards").placed == verdict.placed and verdict.refused == ()
    (place,) = verdict.placed
    assert place == tmp_path / "boards" / "results" / "digits" / "smoke.jsonl"
    assert [run for _, run in read_all(place)[0]] == [read(path) for path in paths]
    assert len(place.read_bytes().splitlines()) == 2
    assert leaderboard.build(tmp_path / "boards", tmp_path / "boards")


def test_packed_files_and_folders_can_be_submitted(tmp_path):
    laid(tmp_path / "mine", run())
    (place,) = submit([tmp_path / "mine"], tmp_path / "boards").placed
    assert submit([place], tmp_path / "other").placed == (
        tmp_path / "other" / "results" / "digits" / "smoke.jsonl",
    )


def test_a_board_of_ones_own_takes_results_of_ones_own_stream(tmp_path: Path) -> None:
    stream = tmp_path / "tickets.toml"
    head = 'name = "tickets"\ntitle = "Tickets"\nkind = "text-classification"\nlicence = "own"\n'
    table = '[table]\nsource = { path = "rows.csv" }\ncolumns = { task = "t", text = "x", label = "y" }\n'
    stream.write_text(f'{head}{table}[protocol.smoke]\nbackbone = "minilm"\n', encoding="utf-8")
    protocol = load_stream(str(stream)).protocols["smoke"]
    made = result(
        "o-lora",
        0,
        "natural",
        names=NAMES,
        protocol=protocol,
        stream="tickets",
        **facts("o-lora", "minilm"),
        provenance=source(backbone_origin="minilm", class_order=None),
        run=0,
    )
    path = laid(tmp_path, keyed(with_rows(made)))
    command = ["submit", str(path), "--root", str(tmp_path / "boards")]
    assert "unknown stream 'tickets'" in bench(*command).stderr
    done = bench(*command, "--stream", str(stream))
    assert done.returncode == 0, done.stderr
    place = tmp_path / "boards/results/tickets/smoke.jsonl"
    assert place.is_file() and str(place) in done.stdout


def test_the_hash_in_the_result_stands_for_adapters_that_are_elsewhere(tmp_path):
    path = laid(tmp_path, run())
    path.with_suffix(".safetensors").unlink()
    assert submit([path], tmp_path / "boards").refused == ()


@pytest.mark.parametrize("stated", [None, "0" * 63])
def test_a_result_without_the_hash_of_its_adapters_is_refused(tmp_path, stated):
    path = laid(tmp_path, run())
    write(read(path).model_copy(update={"adapters_sha256": stated}), path)
    assert "states no hash of its adapters" in refused(path, tmp_path / "boards")


def test_classifier_alignment_is_the_row_s_own_and_no_other_protocol(tmp_path):
    boards = tmp_path / "boards"
    submit([laid(tmp_path / "plain", run())], boards)
    added = PROTOCOL.model_copy(update={"alignment": 5})
    made = run()
    # Aligned, it keeps statistics of old classes.
    changed = {
        "config": made.config | {"protocol": added.model_dump(mode="json")},
        "needs": made.needs | {"stored_statistics": True},
        "provenance": made.provenance,
    }
    made = keyed(made.model_copy(update=changed))
    assert submit([laid(tmp_path / "aligned", made)], boards).refused == ()
    assert len(read_all(boards / "results")[0]) == 2
    # Rows of plain and aligned runs must be the same, so other data are found out.
    other = made.model_copy(update={"seed": 1, "run": None, "timing": facts("o-lora", "vit-nano")["timing"]})
    source = made.provenance.model_copy(update={"data_fingerprint": "beef" * 16})
    submit([laid(tmp_path / "second", run(1))], boards)
    other = keyed(other.model_copy(update={"provenance": source}))
    (reason,) = submit([laid(tmp_path / "third", other)], boards).refused
    assert "its data are not those of" in reason


def test_adapters_of_another_run_or_hash_are_refused(tmp_path):
    path = laid(tmp_path, run())
    path.with_suffix(".safetensors").write_bytes(pack({"down": torch.zeros(2, 3)}, read(path).key))
    assert "is not the file whose hash the result states" in refused(path, tmp_path / "boards")
    path.with_suffix(".safetensors").write_bytes(pack({"down": torch.ones(1)}, "another"))
    assert "adapters of another run" in refused(path, tmp_path / "boards")


def test_a_matrix_may_lack_what_its_protocol_never_scores() -> None:
    few = [[0.9, None, None], [None, 0.8, None], [0.5, 0.6, 0.7]]
    asked = PROTOCOL.model_copy(update={"score_at": "diagonal+last"})
    assert not list(incomplete(result(protocol=asked, scores=few)))
    assert "R[1][0] missing" in next(incomplete(result(protocol=PROTOCOL, scores=few)))
    few[2][1] = None
    assert "R[2][1] missing" in next(incomplete(result(protocol=asked, scores=few)))


def without_commit(made: Result) -> Result:
    return made.model_copy(update={"provenance": source(commit=None, dirty=None)})


def dirty(made: Result) -> Result:
    return made.model_copy(update={"provenance": source(dirty=True)})


def rescored(made: Result) -> Result:
    return made.model_copy(update={"headline": made.headline | {"average_performance": 0.99}})


def headless(made: Result) -> Result:
    kept = {name: value for name, value in made.headline.items() if name != "forgetting"}
    return made.model_copy(update={"headline": kept})


def longer(made: Result) -> Result:
    other = PROTOCOL.model_copy(update={"epochs": PROTOCOL.epochs + 1})
    return keyed(
        made.model_copy(update={"config": made.config | {"protocol": other.model_dump(mode="json")}})
    )


def unregistered(made: Result) -> Result:
    other = PROTOCOL.model_copy(update={"name": "smok"})
    config = made.config | {"protocol": other.model_dump(mode="json")}
    return keyed(made.model_copy(update={"config": config, "protocol": "smok"}))


def holed(made: Result) -> Result:
    runs = [list(row) for row in made.matrix]
    runs[1][0] = None
    changed = {"readings": readings(runs), "headline": headline(runs, [10] * 5)}
    return with_rows(made.model_copy(update=changed))


def rowless(made: Result) -> Result:
    return made.model_copy(update={"readings": readings(made.matrix)})


def misread(made: Result) -> Result:
    rows = [list(row) for row in made.readings[TRAINED_HEAD].rows]
    rows[2][0] = rows[0][0]
    reading = made.readings[TRAINED_HEAD].model_copy(update={"rows": rows})
    return made.model_copy(update={"readings": {TRAINED_HEAD: reading}})


def reset(made: Result) -> Result:
    changed = made.config["hyperparameters"] | {"learning_rate": 0.5}
    return made.model_copy(update={"config": made.config | {"hyperparameters": changed}})


def overcounted(made: Result) -> Result:
    counts = made.parameters.model_copy(update={"active_adapter_reduction": 0.9})
    return made.model_copy(update={"parameters": counts})


def short(made: Result) -> Result:
    return made.model_copy(update={"steps": [4, 4]})


def unsettled(made: Result) -> Result:
    kept = {name: value for name, value in made.config.items() if name != "zero_shot"}
    return made.model_copy(update={"config": kept})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without_commit, "its code is unknown"),
        (dirty, "its code was not that of commit 01234567"),
        (rescored, "states average_performance 0.99, but its matrix gives"),
        (headless, "lacks forgetting"),
        (longer, f"epochs={PROTOCOL.epochs + 1}"),
        (unregistered, "unknown protocol 'smok'; did you mean 'smoke'?"),
        (holed, "R[1][0] missing"),
        (rowless, "lacks the scores of its test rows (trained_head)"),
        (misread, "states a score of 0.6 on 'task 01' after task 3 (trained_head), but its rows give 0.9"),
        (reset, "but its settings and data give"),
        (overcounted, "reduction of 0.9, but its counts give 0.0"),
        (short, "steps has 2 entries for 5 tasks"),
        (unsettled, "name no run: they lack zero_shot"),
    ],
)
def test_what_cannot_be_proved_is_refused(
    tmp_path: Path, spoil: Callable[[Result], Result], reason: str
) -> None:
    assert reason in refused(laid(tmp_path, spoil(run())), tmp_path / "boards")


def test_an_unknown_stream_is_refused(tmp_path):
    made = keyed(run().model_copy(update={"stream": "digit"}))
    assert "unknown stream 'digit'; did you mean 'digits'?" in refused(
        laid(tmp_path, made), tmp_path / "boards"
    )


def test_a_reference_row_that_learned_all_at_once_has_its_last_stage_alone(tmp_path):
    scores = [*[[None] * 5] * 4, [0.9, 0.8, 0.7, 0.6, 0.5]]
    path = laid(tmp_path, run(scores=scores))
    assert "its matrix is not complete: R[0][0], R[1][0], R[1][1], R[2][0], R[2][1], ... missing" in refused(
        path, tmp_path / "boards"
    )
    path = laid(tmp_path, run(method="joint", scores=scores))
    assert submit([path], tmp_path / "boards").refused == ()


def test_every_reason_is_reported(tmp_path):
    path = laid(tmp_path, dirty(rescored(run())))
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    reasons = submit([path, broken], tmp_path / "boards").refused
    assert len(reasons) == 3 and "not complete JSON" in reasons[-1]


def test_a_run_is_published_once_and_all_see_the_same_rows(tmp_path):
    boards = tmp_path / "boards"
    first = laid(tmp_path / "a", run())
    (place,) = submit([first], boards).placed
    (reason,) = submit([laid(tmp_path / "b", run(last=0.7))], boards).refused
    assert f"{place} holds this run already" in reason
    # The same result is no second one: of an interrupted submission a part may be there.
    before = place.read_bytes()
    assert submit([first], boards).placed == (place,)
    assert place.read_bytes() == before
    # Another method, the same stream, order, seed and settings, but other rows.
    (reason,) = submit([laid(tmp_path / "c", run(method="seq-lora", data=OTHER))], boards).refused
    assert f"its data are not those of {place}" in reason and "f00d" in reason
    # Another seed may see other rows.
    assert submit([laid(tmp_path / "d", run(1, data=OTHER))], boards).refused == ()


def test_nothing_is_compared_with_broken_boards(tmp_path):
    broken = tmp_path / "boards" / "results" / "digits" / "smoke" / "x.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    with pytest.raises(UserError, match=r"mend the published results first: .*x\.json"):
        submit([laid(tmp_path, run())], tmp_path / "boards")


def only_fewer_rows(reason: str) -> bool:
    """Whether all that a result changes of its protocol is how many rows of a task it saw, as tables tell."""
    _, reported, changed = reason.partition("its protocol is not the registered 'smoke': ")
    return bool(reported) and all(
        change.split("=")[0] in ("train_limit", "test_limit") for change in changed.split(", ")
    )


def test_the_published_results_would_be_accepted_again():
    found = {
        f"{path.name}: {reason}"
        for path in sorted((ROOT / "leaderboards" / "results").glob("*/*.jsonl"))
        for _, run in read_all(path)[0]
        for reason in validation_errors(run, path)
        if not only_fewer_rows(reason)
    }
    assert found == set()


def test_the_command_tells_and_only_checks_when_asked(tmp_path):
    boards, sound = tmp_path / "boards", laid(tmp_path / "a", run(scores=matrix(0.5, 5)))
    done = bench("submit", sound, "--root", boards, "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith(str(boards)) and not boards.exists()
    bad = laid(tmp_path / "b", dirty(run(1)))
    done = bench("submit", sound, bad, "--root", boards)
    assert done.returncode == 1 and done.stdout == "" and not boards.exists()
    assert done.stderr.startswith(f"refused: {bad}: ") and done.stderr.count("\n") == 1
    done = bench("submit", sound, "--root", boards)
    assert json.loads(Path(done.stdout.strip()).read_bytes())["method"] == "o-lora"
