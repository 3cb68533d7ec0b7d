"""minilm-s2s: MiniLM with a small pretrained decoder, for text to text without a network; bundled decoder."""

from __future__ import annotations

from pathlib import Path

from benchmark.models.backbone import Backbone, LoadedBackbone, quiet
from benchmark.models.minilm import DECODER_WEIGHTS_NAME, build_encoder_decoder, minilm_folder
from benchmark.models.weights_hash import hash_files

WEIGHTS = Path(__file__).parent / "weights" / "minilm-s2s"


def build() -> LoadedBackbone:
    """Join the installed encoder and the bundled decoder."""
    import transformers

    quiet(transformers)
    encoder = minilm_folder()
    model = build_encoder_decoder(encoder, WEIGHTS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder, trust_remote_code=False)
    width = model.get_input_embeddings().weight.shape[1]
    files = [encoder / "model.safetensors", WEIGHTS / DECODER_WEIGHTS_NAME]
    return LoadedBackbone(
        "seq2seq", model, width, tokenizer, origin="minilm-s2s", weights_hash=hash_files(files)
    )


BACKBONE = Backbone(
    kind="seq2seq",
    licence="Apache-2.0 (encoder), CC BY-SA 3.0 (decoder)",
    build=build,
    weights_hash="6f9597df3de5a2af8f73c9ec27af07280e7db554388b18f6c0c67eff6e7f977c",
)
