"""The code on a model card: a whole program that answers with peft and transformers alone.

It loads the base model in the number format that the run used, puts the adapter on it, prepares images or
texts as the run did, and names classes. A test runs it and compares its scores with those of the result.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pprint import pformat
from string import Template
from typing import Any

from benchmark.data import prompts
from benchmark.models.placement import bitsandbytes_settings
from benchmark.models.special_tokens import end_id, padding_id
from benchmark.models.task_model import TaskModel
from benchmark.protocol import Protocol
from benchmark.stream import Task

LOADERS = {"seq2seq": "AutoModelForSeq2SeqLM", "causal": "AutoModelForCausalLM"}
"""The class of transformers by kind; `AutoModel` for the others."""

START = Template("""
import torch
from peft import PeftModel
$imports
folder = "."  # where this card lies
# The classes of each task, in the order in which they were learned.
TASKS = $tasks
CLASSES = list(dict.fromkeys(name for names in TASKS.values() for name in names))
base = $loader.from_pretrained($base, dtype=torch.float32, trust_remote_code=False$options)
model = PeftModel.from_pretrained(base, folder).eval()
""")

TOKENS = Template('''
tokenizer = AutoTokenizer.from_pretrained($tokenizer, trust_remote_code=False)


def encode(text, task):
    """Return the token ids of a text in its prompt, at most $length."""
    before, after = $words
    ids = tokenizer(before + text + after, add_special_tokens=False)["input_ids"]
    if len(ids) > $room:  # the text is cut, what stands around it is not
        parts = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in (before, text, after)]
        end = parts[2][-$room:]
        start = parts[0][max(0, len(parts[0]) - ($room - len(end))) :]
        left = $room - len(start) - len(end)
        ids = start + $cut + end
    return $first + ids + $last
''')

HEAD = Template('''
head = load_file(f"{folder}/head.safetensors")
blocks = range(len(head) // 2)
weight = torch.cat([head[f"weights.{block}"] for block in blocks])
bias = torch.cat([head[f"biases.{block}"] for block in blocks])


def name(features, among):
    """Return the class of highest score for each feature `(n, width)`."""
    scores = features @ weight.T + bias
    if among:
        scores[:, [each not in among for each in CLASSES[: len(bias)]]] = float("-inf")
    return [CLASSES[column] for column in scores.argmax(1).tolist()]
''')

IMAGES = Template('''

@torch.no_grad()$context
def answer(images, among=None):
    """Return the class of each image.

    `images` is `(n, 3, height, width)` with values 0 to 255; `among` are the class names to choose from.
    """
    images = images.float()
    if images.shape[2:] != ($size, $size):
        mode = "bilinear" if $size > images.shape[3] else "area"
        images = torch.nn.functional.interpolate(images, ($size, $size), mode=mode).round().clamp(0, 255)
    mean, deviation = (torch.tensor(each).view(1, -1, 1, 1) for each in ($mean, $deviation))
    output = model(pixel_values=(images / 255 - mean) / deviation)
    return name($feature, among)


print(answer(torch.randint(256, (1, 3, $size, $size))))
''')

ENCODER = Template('''

@torch.no_grad()$context
def answer(text, task, among=None):
    """Return the class of a text of a task; `among` are the class names to choose from."""
    output = model(input_ids=torch.tensor([encode(text, task)]))
    return name($feature, among)[0]


print(answer("A text to classify.", $example))
''')

LABELS = Template('''

@torch.no_grad()$context
def answer(text, task, among=None):
    """Return the likeliest class name after a text of a task; `among` are the names to choose from."""
    prompt, scores = encode(text, task), {}
    for name in among or CLASSES:
        ids = tokenizer($lead + name, add_special_tokens=False)["input_ids"][: $target - 1] + [$end]
$score
        scores[name] = logits.log_softmax(1)[range(len(ids)), ids].$over().item()
    return max(scores, key=scores.get)


print(answer("A text to answer.", $example))
''')

FREE = Template('''

@torch.no_grad()$context
def answer(text, task):
    """Return what the model writes for a text of a task."""
    ids = torch.tensor([encode(text, task)])
    greedy = GenerationConfig(max_new_tokens=$target, do_sample=False, num_beams=1, $special)
    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=greedy)
    return tokenizer.decode(written[0]$behind, skip_special_tokens=True).strip()


print(answer("A text to answer.", $example))
''')

SCORES = {
    "causal": "        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]",
    "seq2seq": "        logits = model(torch.tensor([prompt]), labels=torch.tensor([ids])).logits[0]",
}
FEATURES = {
    "first": "output.last_hidden_state[:, 0]",
    "mean": "output.last_hidden_state.mean(1)",
    "pooled": "output.pooler_output.flatten(1)",
}


@dataclass(frozen=True)
class Base:
    """Where the snippet finds the base model.

    Attributes:
        reference: a hub id or a folder.
        revision: of a hub id.
        inside: whether it lies in the exported folder itself.
    """

    reference: str
    revision: str | None = None
    inside: bool = False

    @property
    def code(self) -> str:
        """The arguments of `from_pretrained`."""
        if self.inside:
            return f'f"{{folder}}/{self.reference}"'
        return repr(self.reference) + (f", revision={self.revision!r}" if self.revision else "")


def snippet(model: TaskModel, tasks: Sequence[Task], base: Base) -> str | None:
    """Return the program, or None where the backbone is no model of transformers.

    Args:
        model: as the run learned it; gives kind, preparation and head.
        tasks: give classes and the words around texts.
    """
    kind, protocol = model.backbone.kind, model.protocol
    if kind == "vector":
        return None
    free = kind in LOADERS and (not protocol.picks_labels or not model.columns)
    loader = LOADERS.get(kind, "AutoModel")
    imports = [
        loader,
        *(["AutoTokenizer"] if kind != "image" else []),
        *(["GenerationConfig"] if free else []),
        *(["BitsAndBytesConfig"] if protocol.quantization != "none" else []),
    ]
    lines = [*(["from safetensors.torch import load_file"] if kind not in LOADERS else [])]
    lines.append(f"from transformers import {', '.join(sorted(imports))}\n")
    values: dict[str, Any] = {
        "imports": "\n".join(lines),
        "tasks": pformat({task.name: list(task.classes) for task in tasks}, width=100, sort_dicts=False),
        "loader": loader,
        "base": base.code,
        "options": _without_pooler(model) + _list_quantization(protocol),
        "context": '\n@torch.autocast("cpu", torch.bfloat16)' if protocol.precision == "bf16" else "",
        "example": repr(tasks[0].name),
    }
    parts = [START, *([] if kind == "image" else [TOKENS]), *([] if kind in LOADERS else [HEAD])]
    if kind == "image":
        settings = model.image_settings
        assert settings is not None
        values |= {"size": settings.size, "mean": settings.mean, "deviation": settings.deviation}
        values["feature"] = FEATURES[model.backbone.pooling]
        parts.append(IMAGES)
    elif kind == "encoder":
        values |= _words(model, tasks, base)
        values["feature"] = FEATURES[model.backbone.pooling]
        parts.append(ENCODER)
    else:
        values |= _words(model, tasks, base) | _answers(model)
        parts.append(FREE if free else LABELS)
    return "".join(part.substitute(values) for part in parts).strip() + "\n"


def _without_pooler(model: TaskModel) -> str:
    """Return the option that leaves a pooler out, as the run did, where the architecture has the option."""
    module = model.backbone.module
    optional = "add_pooling_layer" in inspect.signature(type(module).__init__).parameters
    return ", add_pooling_layer=False" if optional and getattr(module, "pooler", None) is None else ""


def _list_quantization(protocol: Protocol) -> str:
    """Return the options that store the base model's weights as the run did, where it quantized them."""
    if protocol.quantization == "none":
        return ""
    settings = bitsandbytes_settings(protocol.quantization, protocol.precision)
    how = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    return f", device_map={{'': 'cpu'}},\n    quantization_config=BitsAndBytesConfig({how})"


def _words(model: TaskModel, tasks: Sequence[Task], base: Base) -> dict[str, Any]:
    """Return how a text becomes token ids: what stands around it by task, special tokens and lengths."""
    tokenizer, protocol = model.backbone.tokenizer, model.protocol
    around = {task.name: prompts.split_prompt(tokenizer, protocol.prompt, task) for task in tasks}
    alike = len(set(around.values())) == 1
    first, last = ([], []) if protocol.prompt == "chat" else prompts.special_tokens(tokenizer)
    last = [] if model.backbone.kind == "causal" else last
    sides = {task.wording.cut for task in tasks}
    room = max(0, protocol.source_length - len(first) - len(last))
    return {
        "tokenizer": base.code,
        "length": f"{protocol.source_length} tokens",
        "words": repr(next(iter(around.values()))) if alike else f"{pformat(around, width=90)}[task]",
        "room": room,
        "cut": "parts[1][:left]" if sides <= {"end"} else "parts[1][max(0, len(parts[1]) - left) :]",
        "first": first,
        "last": last,
    }


def _answers(model: TaskModel) -> dict[str, Any]:
    """Return how a language model is asked for its answer."""
    kind, tokenizer, module = model.backbone.kind, model.backbone.tokenizer, model.backbone.module
    special: dict[str, Any] = {"pad_token_id": padding_id(tokenizer)}
    generation: Any = getattr(module, "generation_config", None)
    for name in ("eos_token_id", "bos_token_id", "decoder_start_token_id"):
        if (found := getattr(generation, name, None)) is not None:
            special[name] = found
    return {
        "target": model.protocol.target_length,
        "lead": repr(getattr(model, "lead", "")),
        "over": "sum" if model.protocol.decoding == "labels-sum" else "mean",
        "end": end_id(tokenizer, model.backbone.origin),
        "score": SCORES[kind],
        "special": ", ".join(f"{name}={value!r}" for name, value in special.items()),
        "behind": "[ids.shape[1] :]" if kind == "causal" else "",
    }
