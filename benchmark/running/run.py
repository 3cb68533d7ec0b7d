"""A run: one (method, stream, order, seed, backbone, protocol), fully resolved, with a name on disk."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.results import SCHEMA, Result, Tuned

# No separator, and no leading dot: a name that holds neither stays in the folder it is put in.
_PLAIN = re.compile(r"(?!\.)[^/\\\x00-\x1f]+")


@cache
def plain(name: str) -> str:
    """Return a name that can be part of a file's.

    Raises:
        UserError: it would lead into another folder.
    """
    if not _PLAIN.fullmatch(name):
        raise UserError(f"{name!r} cannot be part of a file's name; rename it without / and leading dots")
    return name


@dataclass(frozen=True)
class Run:
    """One run of a plan. Everything that can change a number is here; where it runs is not.

    Attributes:
        hyperparameters: the method's, resolved: defaults, then the protocol's tuned values, then `--set`.
        parameters: the stream's own settings, resolved; empty where a stream has none.
        zero_shot: also score tasks not learned yet.
        backbone_weights: of a backbone that is a folder, the hash of its weights; "" for others.
        backbone_folder: where it lies on this machine; no part of the run's identity, since its hash is.
        stream_file: the file that describes the stream, where it is not a registered one; no part of the
            run's identity, since the protocol and the data are.
        tuned: the search that chose the hyper-parameters; no part of the identity, since its values are.
    """

    method: str
    stream: str
    order: str
    seed: int
    backbone: str
    protocol: Protocol
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    zero_shot: bool = False
    backbone_weights: str = ""
    backbone_folder: Path | None = field(default=None, compare=False)
    stream_file: Path | None = field(default=None, compare=False)
    tuned: Tuned | None = field(default=None, compare=False)

    @property
    def stream_reference(self) -> str:
        """What `benchmark.running.catalogue.load_stream` takes for the run's stream."""
        return str(self.stream_file) if self.stream_file is not None else self.stream

    @property
    def name(self) -> str:
        """A short name for messages."""
        return f"{self.method} on {self.stream}, order {self.order}, seed {self.seed}"

    @cached_property
    def identity(self) -> str:
        """What tells the run from all others before its data is known; two names may be equal."""
        return self.key("")

    def config(self) -> dict[str, Any]:
        """Return the settings stored in the result."""
        weights = {"backbone_weights": self.backbone_weights} if self.backbone_weights else {}
        return weights | {
            "protocol": self.protocol.model_dump(mode="json"),
            "hyperparameters": self.hyperparameters,
            "parameters": self.parameters,
            "zero_shot": self.zero_shot,
        }

    def key(self, fingerprint: str) -> str:
        """Return the hash that names this run's result: settings, data and schema.

        Args:
            fingerprint: of the data, so that other rows in the same folder are another run.
        """
        text = f"{self._settings[:-1]}, {json.dumps(fingerprint)}]"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def row(self) -> str:
        """What runs share that differ in order, seed and data alone, as those that a table's row averages."""
        config = self.config() | {"protocol": self.protocol.identity()}
        text = json.dumps([SCHEMA, self.method, self.stream, self.backbone, config], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def _settings(self) -> str:
        """Everything but the data, as JSON: written once, since a plan asks for many keys."""
        config = self.config() | {"protocol": self.protocol.identity()}
        names = [SCHEMA, self.method, self.stream, self.order, self.seed, self.backbone]
        return json.dumps([*names, config], sort_keys=True)

    def folder(self, out: Path) -> Path:
        """Return where the results of the run's stream and protocol go."""
        return out / plain(self.stream) / plain(self.protocol.name)

    def path(self, out: Path, fingerprint: str) -> Path:
        """Return where the result goes; adapters and unfinished work lie beside it."""
        return self.folder(out) / f"{self.stem}-{self.key(fingerprint)[:8]}.json"

    @property
    def stem(self) -> str:
        """What begins the name of each of the run's files in its folder."""
        return f"{plain(self.method)}-order-{plain(self.order)}-seed-{self.seed}"

    @classmethod
    def of(cls, result: Result) -> Run:
        """Return the run that a result is of.

        Raises:
            UserError: its settings lack what every run has, or hold no protocol.
        """
        config = result.config
        blocks = ("protocol", "hyperparameters", "parameters")
        missing = [name for name in (*blocks, "zero_shot") if name not in config]
        missing += [f"a block of {name}" for name in blocks if not isinstance(config.get(name, {}), dict)]
        if missing:
            raise UserError(f"the settings of {result.name} name no run: they lack {', '.join(missing)}")
        try:
            protocol = Protocol(**config["protocol"])
        except (ValidationError, TypeError) as error:
            first = str(error).splitlines()[:2]
            raise UserError(f"the protocol of {result.name} cannot be read: {' '.join(first)}") from None
        return cls(
            result.method,
            result.stream,
            result.order,
            result.seed,
            result.backbone,
            protocol,
            config["hyperparameters"],
            config["parameters"],
            config["zero_shot"],
            str(config.get("backbone_weights", "")),
        )
