"""A GGUF file of a Llama as a plain folder that transformers reads: de-quantised once, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def convert(source: Path, folder: Path) -> None:
    """Write weights, configuration and tokenizer; a matrix that is tied to another is written once."""
    import transformers
    from safetensors.torch import save_file

    from benchmark.models.backbone import quiet

    quiet(transformers)
    given: dict[str, Any] = {"gguf_file": source.name, "trust_remote_code": False}
    model = transformers.AutoModelForCausalLM.from_pretrained(str(source.parent), dtype="float32", **given)
    tensors = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight")
    save_file(
        {name: value.contiguous() for name, value in tensors.items()},
        str(folder / "model.safetensors"),
        {"format": "pt"},
    )
    config = transformers.LlamaConfig.from_dict(model.config.to_dict())
    # transformers refuses to treat a model as plain while this says that it is quantised.
    del config.quantization_config
    vars(config).pop("_model_name_or_path", None)
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(str(source.parent), **given).save_pretrained(folder)
