"""Backbones: a frozen pretrained model with its tokenizer or pixel settings, by preset, path or hub id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.errors import UserError, quote_first_line, refusal, unknown
from benchmark.models.backbone_store import find_folder, find_stored_folder, preset_key
from benchmark.models.forward_equivalents import PassCounter
from benchmark.models.image_features import DESCRIBED, Pooling, choose_pooling, image_feature, pool_tokens
from benchmark.models.positions import count_from_mask
from benchmark.models.pretrained_model import read_model, try_out
from benchmark.models.special_tokens import require_answers
from benchmark.models.weights_hash import hash_files, hash_tensors, weight_files
from benchmark.registry import BACKBONES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmark.data.images import ImageSettings
    from benchmark.models.pinned_file import PinnedFile
    from benchmark.models.placement import Placement

Kind = Literal["vector", "image", "encoder", "seq2seq", "causal"]


@dataclass(frozen=True)
class Backbone:
    """A preset; a file under `benchmark/backbones/` defines one as `BACKBONE`.

    Attributes:
        hub_id: where the weights are published; None for bundled ones.
        revision: a commit hash, only where it has been verified.
        recalled: the hub id is from memory and has not been checked.
        folder: finds the weights on disk, for bundled or separately installed ones.
        build: makes the module itself where `from_pretrained` alone does not.
        file: a pinned file that `bench backbone fetch` makes a folder of.
        weights_hash: of the weights it must have, others are refused; see `benchmark.models.weights_hash`.
        pooling: how tokens become one feature, see `benchmark.models.image_features`.
        image_size: side in pixels of its images, where the configuration's is not wanted.
        shape: returns the configuration of a large model, to plan with where its weights are not there.
        instead: a preset of the same model, with other weights, for machines without the hub.
    """

    kind: Kind
    licence: str
    hub_id: str | None = None
    revision: str | None = None
    recalled: bool = False
    folder: Callable[[], Path] | None = None
    build: Callable[[], LoadedBackbone] | None = None
    file: PinnedFile | None = None
    weights_hash: str | None = None
    pooling: Pooling = "first"
    image_size: int | None = None
    instead: str | None = None
    shape: Callable[[], Any] | None = None

    @property
    def feature(self) -> str | None:
        """What a classifier's head reads, in words; None where the model answers in text or is one layer."""
        return DESCRIBED[self.pooling] if self.kind in ("image", "encoder") else None


@dataclass
class LoadedBackbone:
    """A model ready to be adapted; every parameter is frozen.

    Attributes:
        width: size of a feature, for models that classify.
        origin: preset folder, path or hub id, without a machine's own folders.
        revision: the resolved commit of a hub model.
        route: a method's own way from inputs to features, as through prompts; None for the plain way.
        passes: counts what goes through the blocks, see `benchmark.models.forward_equivalents`.
        weights_hash: of the weights as loaded: their files' sha256, see `benchmark.models.weights_hash`.
        precision: of the module's products, see `benchmark.models.precision`.
        stored: how weights and attention differ from the plain model's, in words; "" where they do not.
        size: number of frozen parameters as loaded, each shared one once; adapters added later do not count.
    """

    kind: Kind
    module: nn.Module
    width: int
    tokenizer: Any = None
    images: ImageSettings | None = None
    pooling: str = "first"
    origin: str = ""
    revision: str | None = None
    route: Callable[[dict[str, Tensor]], Tensor] | None = None
    weights_hash: str = ""
    precision: str = "float32"
    stored: str = ""
    size: int = field(init=False)
    passes: PassCounter = field(init=False)

    def __post_init__(self) -> None:
        """Count the model, and hang the counter of passes on it, before anything is put beside it."""
        from benchmark.models.placement import parameter_count

        self.size = sum(parameter_count(parameter) for parameter in self.module.parameters())
        self.passes = PassCounter(self.module)
        self.weights_hash = self.weights_hash or hash_tensors(self.module.state_dict())

    def features(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return one feature per row, `(n, width)`, by the method's own way where it has put one in."""
        return (self.route or self.plain_features)(inputs)

    def plain_features(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return one feature per row, `(n, width)`, of the model as it is called."""
        if "features" in inputs:
            # Of a method that changes nothing below its head: read from the frozen prefix.
            return inputs["features"]
        if self.kind == "vector":
            return self.module(**inputs)
        if self.kind == "image":
            return image_feature(self.module(**inputs), self.pooling)
        model: Any = self.module.base_model if self.kind == "causal" else self.module
        return self.pool(model(**inputs).last_hidden_state, inputs)

    def pool(self, hidden: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        """Return one feature per row of its tokens `(n, length, width)`, which are those of the inputs."""
        if self.kind == "image" or (self.kind != "causal" and self.pooling == "first"):
            return pool_tokens(hidden, self.pooling)
        if self.kind == "causal":
            # The one token that has read them all; padding stands on the right here.
            last = inputs["attention_mask"].sum(1) - 1
            return hidden.take_along_dim(last[:, None, None], dim=1).squeeze(1)
        mask = inputs["attention_mask"][..., None].to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)


def load(
    name: str, folder: Path | None = None, weights: str = "", placement: Placement | None = None
) -> LoadedBackbone:
    """Load a backbone by registry key, local folder or hub id `owner/name`; a key is never a folder.

    Args:
        folder: where a backbone that is no preset lies, whatever its name.
        weights: the hash that a folder's weights must have; "" for any.
        placement: of the weights; None for float32 on the CPU.

    Raises:
        UserError: nothing has this name, it cannot be had, or its weights are not those expected.
    """
    if folder is None and (key := preset_key(name)) is not None:
        return _load_preset(key, placement)
    if folder is not None or weights or Path(name).is_dir():
        found = find_folder(name, folder, weights)
        return load_pretrained(str(found), found.name, None, placement)
    if "/" in name:
        return load_pretrained(name, name, None, placement)
    raise UserError(str(unknown("backbone", name, BACKBONES.names(), BACKBONES.command)))


def _load_preset(key: str, placement: Placement | None = None) -> LoadedBackbone:
    preset: Backbone = BACKBONES.load(key)
    if placement is not None:
        placement.require(preset.kind, key)
    if preset.build is not None:
        loaded = preset.build()
        loaded.module.requires_grad_(False)
    elif preset.file is not None:
        loaded = load_pretrained(str(find_stored_folder(key, preset.weights_hash)), key, preset, placement)
    elif preset.folder is not None:
        folder = preset.folder()
        if not (folder / "config.json").is_file():
            raise UserError(f"the weights of the backbone '{key}' are not installed: reinstall the package")
        loaded = load_pretrained(str(folder), key, preset, placement)
    else:
        assert preset.hub_id is not None
        loaded = load_pretrained(preset.hub_id, preset.hub_id, preset, placement)
    if preset.weights_hash is not None and loaded.weights_hash != preset.weights_hash:
        raise UserError(
            f"the weights of the backbone '{key}' have the sha256 {loaded.weights_hash}, not "
            f"{preset.weights_hash}: they are another model's; bring the right ones back, or give their "
            "folder another name and use that (--backbone PATH)"
        )
    return loaded


def load_local(name: str) -> LoadedBackbone | None:
    """Return a backbone, or None where it is not to be had without the network."""
    from unittest.mock import patch

    with patch("huggingface_hub.constants.HF_HUB_OFFLINE", True):
        try:
            return load(name)
        except UserError:
            return None


def load_pretrained(
    source: str, origin: str, preset: Backbone | None = None, placement: Placement | None = None
) -> LoadedBackbone:
    """Load a transformers model and what prepares its inputs, frozen, from a folder or the hub.

    Args:
        source: a local folder or a hub id.
        origin: what a result calls it, without a machine's own folders.
        preset: what is known of it; None reads the kind from its configuration.
        placement: of the weights; None for float32 on the CPU.

    Raises:
        UserError: it cannot be loaded or used; one line says why.
    """
    import transformers

    quiet(transformers)
    given: dict[str, Any] = {"revision": preset.revision if preset else None, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(source, **given)
        kind = preset.kind if preset else _kind(config)
        placing = placement.options(kind, config, origin) if placement else {}
        module = read_model(kind, source, given["revision"], placing)
        tokenizer = None if kind == "image" else transformers.AutoTokenizer.from_pretrained(source, **given)
        files = _weight_files(source, config)
    except UserError:
        raise
    except Exception as error:  # transformers raises many kinds for what is one mistake to a user
        if (refused := refusal(error)) is not None:
            raise refused from None
        raise UserError(
            f"cannot load the backbone '{source}': {_reason(error)} "
            "(without a network, give a local folder with --backbone PATH)"
        ) from error
    module.requires_grad_(False)
    width = getattr(config, "hidden_size", 0) or getattr(config, "d_model", 0)
    pooling: str = preset.pooling if preset else "first"
    images = None
    if kind == "image":
        images = _image_settings(source, (preset and preset.image_size) or _side(source, config))
        if preset is None:
            pooling, width = choose_pooling(module, images.size, origin)
    elif kind in ("seq2seq", "causal"):
        require_answers(module, tokenizer, kind, origin)
        if kind == "causal":
            count_from_mask(module)
    if kind != "image" and preset is None:
        device = next(module.parameters()).device
        try_out(module, {name: each.to(device) for name, each in two_tokens(kind).items()}, origin)
    return LoadedBackbone(
        kind,
        module,
        width,
        tokenizer,
        images,
        pooling,
        origin,
        getattr(config, "_commit_hash", None),
        weights_hash=hash_files(files),
    )


def two_tokens(kind: str) -> dict[str, Tensor]:
    """Return the smallest inputs `(1, 2)` that a model of texts takes."""
    import torch

    ids = torch.zeros(1, 2, dtype=torch.int64)
    begun = {"decoder_input_ids": ids} if kind == "seq2seq" else {}
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **begun}


def _weight_files(source: str, config: Any) -> list[Path]:
    """Return the files that a model's weights were read from; the hub's lie in its cache by then."""
    if Path(source).is_dir():
        return weight_files(Path(source))
    from huggingface_hub import snapshot_download

    revision = getattr(config, "_commit_hash", None)
    return weight_files(Path(snapshot_download(source, revision=revision, local_files_only=True)))


def _reason(error: Exception) -> str:
    """Return the first line of an error, and not the advice to run a stranger's code."""
    if "trust_remote_code" in str(error):
        return "it needs code of its own, which is never run here"
    return quote_first_line(error)


def _kind(config: Any) -> Kind:
    """Return the kind of a model nobody described, from what its configuration says it can do."""
    from transformers.models.auto import modeling_auto as auto

    if config.is_encoder_decoder:
        return "seq2seq"
    pictures = config.model_type in auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    if (pictures or hasattr(config, "image_size")) and not hasattr(config, "vocab_size"):
        return "image"
    encoder = config.model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "encoder" if encoder else "causal"


def _side(source: str, config: Any) -> int:
    """Return the side of the square images that a configuration asks for; 224 pixels where it does not say.

    Raises:
        UserError: they are not square.
    """
    given = getattr(config, "image_size", None) or 224
    sides = {int(side) for side in given} if isinstance(given, list | tuple) else {int(given)}
    if len(sides) > 1:
        raise UserError(
            f"the backbone '{source}' takes images of {given} pixels; only squares are handed over"
        )
    return sides.pop()


def _image_settings(source: str, size: int) -> ImageSettings:
    from benchmark.data.images import read_settings

    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import hf_hub_download

        folder = Path(hf_hub_download(source, "preprocessor_config.json")).parent
    return read_settings(folder, size)


def quiet(transformers: Any) -> None:
    """Keep transformers' own bars and notices out of ours."""
    import warnings

    # Its notices to library authors are no news to whoever runs a benchmark.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
