"""Work that runs share as long as their histories are equal: phases trained, and stages scored, by another.

Runs that differ in what decides about adapters alone (a gate's lambda, a control's rule) learn and score the
same until they first decide otherwise. A method says in `training_facts` what its training depends on beside
its state, and in `notes` what its state only notes of decisions. These facts are hashed with the run's other
settings, its data, the code's commit and the method's state before the task: a phase before the deciding one
is then read from the disk, and so are the scores after a task that left a state seen before. Every byte of a
result is what it would have been but for its times, to which those of the work that was spared are added.

Used where a study asks for it, and only by a committed checkout: code that may have changed shares nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from benchmark.method import Method, Phase
from benchmark.models.backbone import LoadedBackbone
from benchmark.results import SCHEMA, atomic_write, to_json
from benchmark.running.checkpoint import pack
from benchmark.running.data_index import find_versions
from benchmark.running.provenance import PACKAGES, device_name
from benchmark.running.run import Run


def open_histories(
    folder: Path,
    run: Run,
    method: Method,
    fingerprint: str,
    backbone: LoadedBackbone,
    source: tuple[str | None, bool | None],
    device: torch.device,
) -> Histories | None:
    """Return what a run shares; None where its method shares nothing or its code may have changed.

    Args:
        fingerprint: of the data.
        source: see `benchmark.running.provenance.git_state`.
    """
    commit, dirty = source
    trained_by = method.training_facts()
    if trained_by is None or commit is None or dirty is not False:
        return None
    facts = [
        *(SCHEMA, run.stream, run.order, run.seed, run.config() | {"hyperparameters": trained_by}),
        *(fingerprint, backbone.origin, backbone.weights_hash, commit, find_versions(PACKAGES)),
        *(device_name(device), torch.get_num_threads()),
    ]
    return Histories(folder, method, facts)


class Histories:
    """What the runs of one output folder share.

    Attributes:
        saved: seconds that what was read from the disk since `begin` took when it was made.
    """

    def __init__(self, folder: Path, method: Method, facts: Sequence[Any]) -> None:
        """Look into `folder`, which need not exist.

        Args:
            facts: JSON values; all that a task depends on beside the method's state, see `open_histories`.
        """
        self.folder, self.method, self.facts = folder, method, list(facts)
        self.saved = 0.0
        self._parted = False
        self._key = ""

    def begin(self, t: int) -> None:
        """Take the method's state before task t as the history so far."""
        self.saved, self._parted = 0.0, False
        self._key = self._hash("task", t)

    def take_phase(self, phase: Phase) -> dict[str, float] | None:
        """Set the parameters of a phase to what it trained before, and return `steps` and `passes` of it.

        None where it has to be trained: nothing is there, a decision may have come before it, or more than
        its parameters may change.
        """
        self._parted |= phase.decides
        if self._parted or not _is_plain(phase):
            return None
        found = self._read(self._path(phase))
        if found is None:
            return None
        values, facts = found
        parameters = phase.parameters
        if [values[str(i)].shape for i in range(len(values))] != [each.shape for each in parameters]:
            return None
        if phase.before is not None:
            phase.before()
        with torch.no_grad():
            for i, parameter in enumerate(parameters):
                parameter.copy_(values[str(i)])
        self.saved += facts["seconds"]
        return facts

    def keep_phase(self, phase: Phase, steps: int, passes: float, seconds: float) -> None:
        """Keep what a phase has trained."""
        if self._parted or not _is_plain(phase):
            return
        values = {str(i): each.detach().cpu().contiguous().clone() for i, each in enumerate(phase.parameters)}
        data = save_tensors(values)
        facts = {"steps": steps, "passes": passes, "seconds": seconds, "sha256": _sha(data)}
        atomic_write(self._path(phase), save_tensors(values, {"facts": json.dumps(facts)}))

    def take_scores(self, t: int) -> dict[str, Any] | None:
        """Return what `keep_scores` kept of stage t after this state; None where there is nothing."""
        try:
            found = json.loads(self._scores_path(t).read_bytes())
            if found["sha256"] != _sha(to_json(found["scores"])):
                return None
            self.saved = float(found["seconds"])
            scores: dict[str, Any] = found["scores"]
            return scores
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep_scores(self, t: int, scores: dict[str, Any], seconds: float) -> None:
        """Keep JSON values that were scored at stage t."""
        facts = {"scores": scores, "seconds": seconds, "sha256": _sha(to_json(scores))}
        atomic_write(self._scores_path(t), to_json(facts))

    def _path(self, phase: Phase) -> Path:
        return self.folder / f"{self._key}-{hashlib.sha256(phase.name.encode()).hexdigest()[:8]}.safetensors"

    def _scores_path(self, t: int) -> Path:
        return self.folder / f"{self._hash('scores', t)}.scores"

    def _hash(self, what: str, t: int) -> str:
        state = {name: x for name, x in self.method.state().items() if name not in self.method.notes}
        text = json.dumps([*self.facts, what, t, _sha(pack(state))], sort_keys=True)
        return _sha(text.encode())[:32]

    def _read(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, float]] | None:
        """Return what a file holds; None where it is missing, damaged or not whole."""
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads((file.metadata() or {})["facts"])
            values = load_tensors(path.read_bytes())
            return (values, facts) if _sha(save_tensors(values)) == facts["sha256"] else None
        except (OSError, SafetensorError, ValueError, KeyError):
            return None


def _is_plain(phase: Phase) -> bool:
    """Whether a phase is a task's main one, before every decision, and changes its parameters alone."""
    return phase.main and phase.after_backward is None and phase.after_step is None


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
