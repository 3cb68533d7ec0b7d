"""minilm-s2s: MiniLM with a small pretrained decoder, for text to text without a network; bundled decoder."""

from __future__ import annotations

from pathlib import Path

from benchmark.models.backbone import Backbone, LoadedBackbone, quiet
from benchmark.models.minilm import build_encoder_decoder, minilm_folder

WEIGHTS = Path(__file__).parent / "weights" / "minilm-s2s"


def build() -> LoadedBackbone:
    """Join the installed encoder and the bundled decoder."""
    import transformers

    quiet(transformers)
    encoder = minilm_folder()
    model = build_encoder_decoder(encoder, WEIGHTS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    width = model.get_input_embeddings().weight.shape[1]
    return LoadedBackbone("seq2seq", model, width, tokenizer, origin="minilm-s2s")


BACKBONE = Backbone(kind="seq2seq", licence="Apache-2.0 (encoder), CC BY-SA 3.0 (decoder)", build=build)
