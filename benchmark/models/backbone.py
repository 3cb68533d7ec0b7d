"""Backbones: a frozen pretrained model with its tokenizer or pixel settings, by preset, path or hub id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from benchmark.errors import UserError
from benchmark.registry import BACKBONES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmark.data.images import ImageSettings

Kind = Literal["vector", "image", "encoder", "seq2seq", "causal"]

# What can learn what: an encoder classifies with a head, a text-to-text model answers with a label string.
LEARNS: dict[str, tuple[str, ...]] = {
    "vector": ("vector",),
    "image": ("image",),
    "text-classification": ("encoder", "seq2seq", "causal"),
    "text-to-text": ("seq2seq", "causal"),
}


@dataclass(frozen=True)
class Backbone:
    """A preset; a file under `benchmark/backbones/` defines one as `BACKBONE`.

    Attributes:
        hub_id: where the weights are published; None for bundled ones.
        revision: a commit hash, only where it has been verified.
        recalled: the hub id is from memory and has not been checked.
        folder: finds the weights on disk, for bundled or separately installed ones.
        build: makes the module itself where `from_pretrained` alone does not.
        pooling: how an encoder's tokens become one feature.
    """

    kind: Kind
    licence: str
    hub_id: str | None = None
    revision: str | None = None
    recalled: bool = False
    folder: Callable[[], Path] | None = None
    build: Callable[[], LoadedBackbone] | None = None
    pooling: Literal["mean", "first"] = "first"


@dataclass
class LoadedBackbone:
    """A model ready to be adapted; every parameter is frozen.

    Attributes:
        width: size of a feature, for models that classify.
        origin: preset folder, path or hub id, without a machine's own folders.
        revision: the resolved commit of a hub model.
        route: a method's own way from inputs to features, as through prompts; None for the plain way.
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
    size: int = field(init=False)

    def __post_init__(self) -> None:
        """Count the model before anything is put beside it."""
        self.size = sum(parameter.numel() for parameter in self.module.parameters())

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over names, types and values of all weights as loaded; asked for before any is changed."""
        import hashlib

        digest = hashlib.sha256()
        for name, value in self.module.state_dict().items():
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

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
        return self.pool(self.module(**inputs).last_hidden_state, inputs)

    def pool(self, hidden: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        """Return one feature per row of its tokens `(n, length, width)`, which are those of the inputs."""
        if self.pooling == "first":
            return hidden[:, 0]
        mask = inputs["attention_mask"][..., None].to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)


def load(name: str) -> LoadedBackbone:
    """Load a backbone by registry key, local folder or hub id `owner/name`.

    Raises:
        UserError: nothing has this name, or it cannot be had.
    """
    path = Path(name)
    if (path / "config.json").is_file():
        return load_pretrained(name, origin=path.name)
    if path.is_dir():
        raise UserError(f"the backbone folder {name} holds no config.json")
    if "/" in name:
        return load_pretrained(name, origin=name)
    preset: Backbone = BACKBONES.load(name)
    if preset.build is not None:
        loaded = preset.build()
        loaded.module.requires_grad_(False)
        return loaded
    key = BACKBONES.entry(name).key
    if preset.folder is not None:
        folder = preset.folder()
        if not (folder / "config.json").is_file():
            raise UserError(f"the weights of the backbone '{key}' are not installed: reinstall the package")
        return load_pretrained(str(folder), key, preset)
    assert preset.hub_id is not None
    return load_pretrained(preset.hub_id, preset.hub_id, preset)


def load_pretrained(source: str, origin: str, preset: Backbone | None = None) -> LoadedBackbone:
    """Load a transformers model and what prepares its inputs, frozen, from a folder or the hub.

    Args:
        source: a local folder or a hub id.
        origin: what a result calls it, without a machine's own folders.
        preset: what is known of it; None reads the kind from its configuration.

    Raises:
        UserError: it cannot be loaded; one line says why.
    """
    import transformers

    quiet(transformers)
    revision = preset.revision if preset else None
    try:
        config = transformers.AutoConfig.from_pretrained(source, revision=revision)
        kind = preset.kind if preset else _kind(config)
        module = _model(transformers, kind, source, revision)
        tokenizer = None
        if kind != "image":
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, revision=revision)
    except Exception as error:  # transformers raises many kinds for what is one mistake to a user
        raise UserError(
            f"cannot load the backbone '{source}': {str(error).strip().splitlines()[0][:200]} "
            "(without a network, give a local folder with --backbone PATH)"
        ) from error
    module.requires_grad_(False)
    return LoadedBackbone(
        kind,
        module,
        getattr(config, "hidden_size", 0) or getattr(config, "d_model", 0),
        tokenizer,
        _image_settings(source, config) if kind == "image" else None,
        preset.pooling if preset else "first",
        origin,
        getattr(config, "_commit_hash", None),
    )


def _kind(config: Any) -> Kind:
    """Return the kind of a model nobody described, from what its configuration says it can do."""
    from transformers.models.auto import modeling_auto as auto

    if config.is_encoder_decoder:
        return "seq2seq"
    if hasattr(config, "image_size") and not hasattr(config, "vocab_size"):
        return "image"
    encoder = config.model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "encoder" if encoder else "causal"


def _model(transformers: Any, kind: Kind, source: str, revision: str | None) -> nn.Module:
    loaders = {"seq2seq": transformers.AutoModelForSeq2SeqLM, "causal": transformers.AutoModelForCausalLM}
    options: dict[str, Any] = {"revision": revision, "use_safetensors": True, "dtype": "float32"}
    if kind in ("image", "encoder"):
        try:  # the pooler is trained for another purpose and is used by no method
            return transformers.AutoModel.from_pretrained(source, add_pooling_layer=False, **options)
        except TypeError:
            pass  # this architecture has none
    return loaders.get(kind, transformers.AutoModel).from_pretrained(source, **options)


def _image_settings(source: str, config: Any) -> ImageSettings:
    from benchmark.data.images import read_settings

    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import hf_hub_download

        folder = Path(hf_hub_download(source, "preprocessor_config.json")).parent
    return read_settings(folder, config.image_size)


def quiet(transformers: Any) -> None:
    """Keep transformers' own bars and notices out of ours."""
    import warnings

    # Its notices to library authors are no news to whoever runs a benchmark.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
