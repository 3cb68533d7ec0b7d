"""A model card for an exported adapter: what it is, how to load it, what it scores, where it comes from.

The block at its head is in the hub's metadata format, with the scores as `model-index`
(huggingface_hub's `ModelCardData` and `EvalResult`).
"""

from __future__ import annotations

import re

import pandas as pd

from benchmark.publishing.collect import head, row_method
from benchmark.publishing.tables import LEADING, markdown, plain
from benchmark.results import Result
from benchmark.scoring.metrics import CONVENTIONS

LIBRARY = "peft"
MARK = f"library_name: {LIBRARY}"
"""Stands in the metadata of every card."""
TASK_TYPES = {
    "vector": "tabular-classification",
    "image": "image-classification",
    "encoder": "text-classification",
    "seq2seq": "text2text-generation",
    "causal": "text-generation",
}
"""The hub's name of what a backbone of each kind does."""


def card(result: Result, kind: str, has_head: bool, code: str | None = None) -> str:
    """Return the text of the card.

    Args:
        kind: of its backbone, a key of `TASK_TYPES`.
        has_head: whether `head.safetensors` lies beside the adapter.
        code: the program that answers with it; None where there is none.
    """
    return f"---\n{_metadata(result, kind)}\n---\n\n" + "\n\n".join(_body(result, has_head, code)) + "\n"


def _metadata(result: Result, kind: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    source = result.provenance
    scores = [
        EvalResult(
            task_type=TASK_TYPES[kind],
            dataset_type=result.stream,
            dataset_name=f"{result.stream}, protocol {result.protocol}",
            dataset_args={"order": result.order, "seed": result.seed},
            metric_type=_metric(result) if name == LEADING else name,
            metric_name=_words(name),
            metric_value=value,
        )
        for name, value in sorted(result.headline.items())
        if value is not None
    ]
    data = ModelCardData(
        library_name=LIBRARY,
        # Only what came from the hub, at a commit, is a model that the hub can link to.
        base_model=source.backbone_origin if source.backbone_revision else None,
        tags=["continual-learning", "lora", result.method],
        model_name=result.name,
        eval_results=scores,
    )
    return str(data.to_yaml())


def _body(result: Result, has_head: bool, code: str | None) -> list[str]:
    source = result.provenance
    revision = f" at {source.backbone_revision}" if source.backbone_revision else ""
    needs = ", ".join(name.replace("_", " ") for name, needed in sorted(result.needs.items()) if needed)
    blocks = [
        f"# {plain(result.name)}",
        f"What the continual-learning method {plain(row_method(result))} learned from {len(result.tasks)} "
        "tasks, as one adapter of peft. Measured by Continual PEFT bench; scores are of one run.",
        "## Use",
        _use(code),
    ]
    if has_head:
        blocks.append("peft has no place for the shared classification head: it is in `head.safetensors`.")
    if head(result) == "task-incremental":
        blocks.append("The scores are with the task id at hand: call `answer` with `among=TASKS[task]`.")
    facts = {
        "backbone": source.backbone_origin + revision,
        "head protocol": head(result),
        "asks for, beyond the current task's data": needs or "nothing",
        "order": ", ".join(source.task_order),
        "seed": str(result.seed),
        "data": f"{source.data_origin}, fingerprint {source.data_fingerprint}",
        "code": f"commit {source.commit or 'unknown'}{', with changes' if source.dirty else ''}",
        "result": result.key,
    }
    return [
        *blocks,
        "## Scores x 100",
        _scores(result),
        _tasks(result),
        "## Where it comes from",
        "\n".join(f"- **{name}**: {plain(text)}" for name, text in facts.items()),
    ]


def _use(code: str | None) -> str:
    if code is None:
        return "The backbone is one layer of Continual PEFT bench, which transformers alone does not load."
    # More backticks than any line of the code begins with, so that no class name can end the block.
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", code))])
    return f"With peft and transformers alone:\n\n{fence}python\n{code}{fence}"


def _words(name: str) -> str:
    title = CONVENTIONS[name].title if name in CONVENTIONS else ""
    return name.replace("_", " ") + (f": {title}" if title else "")


def _scores(result: Result) -> str:
    records = [
        {"number": plain(name.replace("_", " ")), "value": f"{100 * value:.2f}"}
        for name, value in sorted(result.headline.items())
        if value is not None
    ]
    return markdown(pd.DataFrame(records))


def _tasks(result: Result) -> str:
    records = [
        {
            "on task": plain(task.name),
            "metric": task.metric.replace("_", " "),
            "after the last task": "" if score is None else f"{100 * score:.2f}",
            "test rows": str(task.test),
        }
        for task, score in zip(result.tasks, result.matrix[-1], strict=True)
    ]
    return markdown(pd.DataFrame(records))


def _metric(result: Result) -> str:
    """Return the tasks' metric; where they differ, the number is a mean of unlike scores."""
    names = {task.metric for task in result.tasks}
    return names.pop() if len(names) == 1 else "mean of task metrics"
