"""How each tuner of peft is configured for the layers it is put on: peft's defaults where they fit.

Sizes that must divide a layer's sides, or may not exceed them, are the largest that fit all target layers, up
to peft's default. A rank is the protocol's where the tuner means by it what LoRA does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import gcd
from typing import Any

from torch import nn

from benchmark.errors import UserError
from benchmark.lora.targets import role_of
from benchmark.protocol import Protocol


@dataclass(frozen=True)
class Layers:
    """The layers a tuner is put on, and the protocol of the run."""

    linears: Mapping[str, nn.Linear]
    protocol: Protocol

    @property
    def inputs(self) -> list[int]:
        """The layers' input sizes."""
        return [layer.in_features for layer in self.linears.values()]

    @property
    def sides(self) -> list[int]:
        """The layers' input and output sizes."""
        return self.inputs + [layer.out_features for layer in self.linears.values()]

    @property
    def alpha(self) -> float:
        """The alpha of the protocol: an adapter's scale times its rank."""
        return self.protocol.alpha or self.protocol.rank

    def block(self, sides: list[int], most: int, what: str, times: int = 1) -> int:
        """Return the largest power of two up to `most` that, `times` over, divides all sides.

        Raises:
            UserError: only 1 does, which would leave nothing to learn together.
        """
        common = gcd(*sides)
        size = most
        while size > 1 and common % (times * size):
            size //= 2
        if size == 1:
            listed = ", ".join(str(side) for side in sorted(set(sides)))
            raise UserError(
                f"{what} has no valid block size for layers of sizes {listed}: "
                f"{2 * times} must divide all of them; choose other layers with --set targets=..."
            )
        return size


@dataclass(frozen=True)
class Tuner:
    """A type of peft and the fields of its configuration for given layers."""

    type: str
    fields: Callable[[Layers], dict[str, Any]]


def _dora(layers: Layers) -> dict[str, Any]:
    return {
        "r": layers.protocol.rank,
        "lora_alpha": layers.alpha,
        "lora_dropout": layers.protocol.dropout,
        "use_dora": True,
    }


def _ia3(layers: Layers) -> dict[str, Any]:
    return {"feedforward_modules": [name for name in layers.linears if role_of(name) == "down"]}


def _vera(layers: Layers) -> dict[str, Any]:
    return {"r": min(256, *layers.sides), "vera_dropout": layers.protocol.dropout}


def _randlora(layers: Layers) -> dict[str, Any]:
    # A base more than a quarter of the smaller side leaves too few of them to learn a full-rank update from.
    rank = max(1, min(32, min(layers.sides) // 4))
    return {"r": rank, "randlora_alpha": 20 * rank, "randlora_dropout": layers.protocol.dropout}


def _oft(layers: Layers) -> dict[str, Any]:
    return {"oft_block_size": layers.block(layers.inputs, 32, "OFT")}


def _boft(layers: Layers) -> dict[str, Any]:
    size = layers.block(layers.inputs, 4, "BOFT with two butterfly factors", times=2)
    return {"boft_block_size": size, "boft_n_butterfly_factor": 2}


def _alpha_and_rank(layers: Layers) -> dict[str, Any]:
    return {"r": layers.protocol.rank, "alpha": layers.alpha}


def _hra(layers: Layers) -> dict[str, Any]:
    return {"r": layers.protocol.rank}


def _miss(layers: Layers) -> dict[str, Any]:
    return {"r": layers.block(layers.inputs, 64, "MiSS"), "miss_dropout": layers.protocol.dropout}


def _fourierft(layers: Layers) -> dict[str, Any]:
    smallest = min(layer.in_features * layer.out_features for layer in layers.linears.values())
    return {"n_frequency": max(1, min(1000, smallest // 4))}


def _c3a(layers: Layers) -> dict[str, Any]:
    return {"block_size": layers.block(layers.sides, 256, "C3A")}


def _vblora(layers: Layers) -> dict[str, Any]:
    length = layers.block(layers.sides, 256, "VB-LoRA")
    return {"vector_length": length, "r": layers.protocol.rank, "vblora_dropout": layers.protocol.dropout}


TUNERS: dict[str, Tuner] = {
    "boft": Tuner("BOFT", _boft),
    "c3a": Tuner("C3A", _c3a),
    "dora": Tuner("LORA", _dora),
    "fourierft": Tuner("FOURIERFT", _fourierft),
    "hra": Tuner("HRA", _hra),
    "ia3": Tuner("IA3", _ia3),
    "loha": Tuner("LOHA", _alpha_and_rank),
    "lokr": Tuner("LOKR", _alpha_and_rank),
    "miss": Tuner("MISS", _miss),
    "oft": Tuner("OFT", _oft),
    "randlora": Tuner("RANDLORA", _randlora),
    "vblora": Tuner("VBLORA", _vblora),
    "vera": Tuner("VERA", _vera),
}
