"""Reads a pretrained model and accepts it only if every tensor that is used came from its file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError, quote_first_line, refusal

if TYPE_CHECKING:
    from torch import Tensor, nn

# Used by no forward pass here: poolers are trained for another purpose, mask tokens stand for hidden patches.
UNUSED = ("pooler", "mask_token")
# What transformers says where it drew weights at random or left some out.
ALARMING = ("newly initialized", "not initialized", "mismatch", "were not used")
SHOWN = 3

log = logging.getLogger(__name__)


def read_model(
    kind: str, source: str, revision: str | None, placing: Mapping[str, Any] | None = None
) -> nn.Module:
    """Return a model with its weights in float32, or as `placing` says; nothing of it is drawn at random.

    Args:
        kind: of backbone.
        source: a local folder or a hub id.
        revision: of the hub's model.
        placing: what `Placement.options` says of devices and quantization.

    Raises:
        UserError: tensors are missing, unexpected, of another shape or not finite; the line names them.
        Exception: whatever transformers raises where it cannot read the model.
    """
    import transformers

    from benchmark.models.placement import keep_layout, require_sound_unpacking, scales_of

    loaders = {"seq2seq": transformers.AutoModelForSeq2SeqLM, "causal": transformers.AutoModelForCausalLM}
    loader: Any = loaders.get(kind, transformers.AutoModel)
    options: dict[str, Any] = {
        "revision": revision,
        "use_safetensors": True,
        "dtype": "float32",
        "trust_remote_code": False,
        # Refused below, with all names.
        "ignore_mismatched_sizes": True,
        "output_loading_info": True,
        **(placing or {}),
    }
    with reading_warnings() as warnings:
        if kind in ("image", "encoder"):
            try:
                module, found = loader.from_pretrained(source, add_pooling_layer=False, **options)
            except TypeError:  # this architecture has no pooler to leave out
                module, found = loader.from_pretrained(source, **options)
        else:
            module, found = loader.from_pretrained(source, **options)
    refuse_other_tensors(module, found, source, may_lack=UNUSED if kind in ("image", "encoder") else ())
    numbers = [*module.named_parameters(), *scales_of(module)]
    broken = [name for name, tensor in numbers if not tensor.isfinite().all()]
    if broken:
        raise UserError(f"the weights of '{source}' hold NaN or infinite numbers: {_some(broken)}")
    for line in warnings:
        if any(words in line for words in ALARMING) and "pooler" not in line:
            raise UserError(f"the weights of '{source}' were not read as they are: {line[:200]}")
        log.info("%s: %s", source, line)
    if kind in ("seq2seq", "causal"):
        answer_greedily(module)
    make_linear(module)
    keep_layout(module)
    require_sound_unpacking(module)
    return module


def refuse_other_tensors(
    module: nn.Module, found: dict[str, Any], source: str, may_lack: Iterable[str] = ()
) -> None:
    """Raise `UserError` where a model and its file hold different tensors, and name them.

    A head that is not part of this model may be in the file; tensors under a name of its own parts may not.

    Args:
        module: as loaded.
        found: what `from_pretrained` tells of `missing_keys`, `unexpected_keys` and `mismatched_keys`.
        source: where the model came from.
        may_lack: parts of names whose tensors may be missing.
    """
    parts = {name for name, _ in module.named_children()} | {name for name, _ in module.named_parameters()}
    prefix = f"{getattr(module, 'base_model_prefix', '')}."

    def unused(name: str) -> bool:
        return any(word in part for part in name.split(".") for word in may_lack)

    def own(name: str) -> bool:
        inner = name.removeprefix(prefix)
        return inner in parts or inner.split(".")[0] in parts or (prefix != "." and name.startswith(prefix))

    complaints = [
        ("missing", [name for name in sorted(found["missing_keys"]) if not unused(name)]),
        ("unexpected", [n for n in sorted(found["unexpected_keys"]) if own(n) and "pooler" not in n]),
        ("of another shape", [str(each[0]) for each in sorted(found["mismatched_keys"])]),
    ]
    told = [f"{len(names)} {what} ({_some(names)})" for what, names in complaints if names]
    if told:
        raise UserError(
            f"the weights of the backbone '{source}' are not those of its config.json; tensors: "
            f"{'; '.join(told)}"
        )


def try_out(module: nn.Module, inputs: dict[str, Tensor], source: str) -> Any:
    """Return a model's answer to inputs that every model of its kind takes.

    A configuration can let a model be made and loaded that cannot run, as with a negative number of heads.

    Raises:
        UserError: it fails; the line says with what.
    """
    import torch

    try:
        with torch.no_grad():
            return module.eval()(**inputs)
    except Exception as error:  # whatever torch and transformers raise for sizes that do not fit
        if (refused := refusal(error)) is not None:
            raise refused from None
        raise UserError(
            f"the backbone '{source}' cannot run as its config.json describes it: {quote_first_line(error)}"
        ) from error


def make_linear(module: nn.Module) -> None:
    """Put a plain linear layer in the place of each of GPT-2's `Conv1D`, whose weight is stored transposed.

    Adapters then have the shapes that peft gives them there: A `(r, d_in)` and B `(d_out, r)`.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    for name, layer in list(module.named_modules()):
        if isinstance(layer, Conv1D):
            inputs, outputs = layer.weight.shape
            plain = nn.Linear(inputs, outputs, device="meta")
            plain.weight = nn.Parameter(layer.weight.detach().t().contiguous())
            plain.bias = layer.bias
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, plain)


def answer_greedily(module: Any) -> None:
    """Put away everything a folder says about generation but its special tokens: greedy means greedy."""
    import transformers

    given = module.generation_config
    kept = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    named = {name: getattr(given, name, None) for name in kept}
    for name in kept:
        if named[name] is None:
            named[name] = getattr(module.config, name, None)
    module.generation_config = transformers.GenerationConfig(**named)


@contextmanager
def reading_warnings() -> Iterator[list[str]]:
    """Within the context, collect what transformers warns of instead of printing it."""
    import transformers

    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(" ".join(record.getMessage().split()))

    collector = Collector(logging.WARNING)
    logger = logging.getLogger("transformers")
    verbosity, handlers = transformers.utils.logging.get_verbosity(), logger.handlers
    logger.handlers = [collector]
    transformers.utils.logging.set_verbosity_warning()
    try:
        yield lines
    finally:
        logger.handlers = handlers
        transformers.utils.logging.set_verbosity(verbosity)


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
