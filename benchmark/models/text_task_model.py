"""Text to text: the answer is a string, trained by token cross-entropy, decoded freely or by label score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.data import encoding, prompts
from benchmark.data.batches import Batch, Rows, TokenRows
from benchmark.data.row_cache import code_of
from benchmark.models.answers import Answer
from benchmark.models.backbone import LoadedBackbone
from benchmark.models.label_scores import causal_scores, decoder_scores, find_branches, last_logits
from benchmark.models.special_tokens import end_id, padding_id
from benchmark.models.tail import PREFIX
from benchmark.models.task_model import TaskModel, best_columns
from benchmark.protocol import Protocol
from benchmark.results import CLASS_MEANS, TASK_INCREMENTAL
from benchmark.scoring.task_metrics import draw
from benchmark.stream import Examples, Task


class TextTaskModel(TaskModel):
    """A seq2seq or causal language model that answers a prompt."""

    def __init__(self, backbone: LoadedBackbone, tasks: list[Task], protocol: Protocol) -> None:
        """Start without labels seen."""
        super().__init__(backbone, tasks, protocol)
        self.seen = 0

    @property
    def causal(self) -> bool:
        """Whether prompt and answer are one sequence."""
        return self.backbone.kind == "causal"

    def encode(self, task: Task, examples: Examples) -> Rows:
        """Return prompts as token ids and, as targets, the label string or the first reference."""
        tokenizer = self.backbone.tokenizer
        code = code_of(TextTaskModel, sample_references, draw)
        ids = encoding.token_lists(
            [*self.token_key(task, examples), self.backbone.kind, code],
            examples,
            {
                "prompts": lambda rows: self.prompts(task, rows, open_ended=self.causal),
                "targets": lambda rows: [self.answer(text) for text in self._answers(task, rows)],
            },
        )
        rows = TokenRows(ids["prompts"], padding_id(tokenizer), None, ids["targets"], self.causal)
        return self.with_prefix(rows, self.label_answers if self.by_labels and self.causal else None)

    @property
    def by_labels(self) -> bool:
        """Whether an answer is chosen among labels."""
        return self.protocol.picks_labels and bool(self.columns)

    @cached_property
    def label_answers(self) -> list[list[int]]:
        """The token ids of every label of the stream, in the order of the columns."""
        return [self.answer(label) for label in self.columns]

    @cached_property
    def lead(self) -> str:
        """What stands between prompt and answer: a blank, where a causal model's prompt ends without one.

        Words that begin without a blank are rare in what such models have read, and fall into pieces.
        """
        if not self.causal:
            return ""
        ends = {
            prompts.split_prompt(self.backbone.tokenizer, self.protocol.prompt, task)[1]
            for task in self.tasks
        }
        return "" if any(end != end.rstrip() for end in ends) else " "

    def answer(self, text: str) -> list[int]:
        """Return an answer's token ids, cut to the protocol's length and closed by the end token."""
        tokenizer = self.backbone.tokenizer
        end = end_id(tokenizer, self.backbone.origin)
        ids = tokenizer(f"{self.lead}{text}", add_special_tokens=False)["input_ids"]
        return [*ids[: self.protocol.target_length - 1], end]

    def _answers(self, task: Task, examples: Examples) -> list[str]:
        if examples.references is None:
            assert examples.labels is not None
            return [task.classes[label] for label in examples.labels]
        if self.protocol.references == "drawn":
            return sample_references(examples)
        return [accepted[0] for accepted in examples.references]

    def begin_task(self, tasks: Sequence[int]) -> None:
        """Note whose labels have been seen; there is no head."""
        columns = [column for task in tasks for column in self.task_columns(self.tasks[task])]
        self.seen = max([self.seen, *(column + 1 for column in columns)])

    def outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy of the answers' tokens, and the logits of all of them.

        Those of a causal model are made for the longest answer alone: they end where the batch ends.
        """
        self.announce(batch)
        module: Any = self.backbone.module
        if not self.causal:
            answered = module(**batch.inputs, labels=batch.targets)
            return answered.loss, answered.logits
        assert batch.targets is not None
        # Counted before the batch was sent: to count on a GPU is to wait for it.
        longest = max(batch.answers) if batch.answers else int((batch.targets != -100).sum(1).max())
        logits = last_logits(module, batch.inputs, longest + 1)
        # The logits at a token are about the next one.
        loss = functional.cross_entropy(logits[:, :-1].transpose(1, 2).float(), batch.targets[:, -longest:])
        return loss, logits

    @torch.no_grad()
    def predict(self, batch: Batch, task: int | None = None) -> list[str]:
        """Return decoded strings or, where labels are picked, the likeliest one seen or of the task."""
        self.announce(batch)
        if self.by_labels:
            labels = list(self.columns)[: self.seen] if task is None else list(self.tasks[task].classes)
            scores = self.label_scores(batch, labels)
            predictions = [labels[index] for index in scores.argmax(1).tolist()]
            if task is None:
                self.note(Answer(predictions, None, scores))
            return predictions
        tokenizer = self.backbone.tokenizer
        model: Any = self.backbone.module
        inputs, states = self._split_prefix(batch)
        with self._feeding(states):
            generated = model.generate(
                **inputs,
                max_new_tokens=self.protocol.target_length,
                num_beams=1,
                do_sample=False,
                pad_token_id=padding_id(tokenizer),
            )
        if self.causal:
            generated = generated[:, batch.inputs["input_ids"].shape[1] :]
        return [text.strip() for text in tokenizer.batch_decode(generated, skip_special_tokens=True)]

    def choose(self, scores: Tensor, task: int | None) -> list[str]:
        """Return the likeliest labels by scores `(n, labels seen)`, among the given task's if any."""
        columns = None if task is None else self.task_columns(self.tasks[task])
        labels = list(self.columns)
        return [labels[column] for column in best_columns(scores, columns)]

    def blank_readings(self) -> dict[str, str]:
        """Return that there are no features to read and, without labels to choose from, no classes."""
        blank = {CLASS_MEANS: "a language model answers in text: no class means are read of it"}
        if not self.protocol.picks_labels or not all(task.classes for task in self.tasks):
            blank[TASK_INCREMENTAL] = "the answer is free text: there are no classes to mask"
        return blank

    def label_scores(self, batch: Batch, labels: list[str]) -> Tensor:
        """Return the log-likelihood of each label string after each prompt, `(n, labels)`.

        It is the mean per token, or with `decoding = labels-sum` that of the whole answer.
        """
        module: Any = self.backbone.module
        summed = self.protocol.decoding == "labels-sum"
        answers = [self.answer(label) for label in labels]
        inputs, states = self._split_prefix(batch)
        if self.causal:
            if states is not None:
                # Stored for every label of the stream; those asked about are picked out.
                chosen = find_branches(self.label_answers, [self.columns[label] for label in labels])
                length = inputs["input_ids"].shape[1]
                states = torch.cat([states[:, :length], states[:, length:][:, chosen]], dim=1)
            return causal_scores(module, inputs, answers, states, summed)
        with self._feeding(states):
            encoded = module.get_encoder()(**inputs)
        return decoder_scores(module, encoded, inputs["attention_mask"], answers, summed)

    def _split_prefix(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return a batch's inputs and, apart from them, the states of the frozen prefix, if any."""
        inputs = dict(batch.inputs)
        return inputs, inputs.pop(PREFIX, None)

    def _feeding(self, states: Tensor | None) -> AbstractContextManager[None]:
        if states is None or self.prefix is None or self.prefix.tail is None:
            return nullcontext()
        return self.prefix.tail.feeding(states)

    def references(self, task: Task, examples: Examples) -> list[Any]:
        """Return every accepted answer of each row; the scorer draws one where the protocol says so."""
        return self._answers(task, examples) if examples.references is None else list(examples.references)

    @property
    def can_answer(self) -> bool:
        """Whether text is decoded freely, or a label has been seen."""
        return not self.protocol.picks_labels or not self.columns or self.seen > 0

    def state(self) -> dict[str, Tensor]:
        """Return how many labels have been seen."""
        return {"seen": torch.tensor(self.seen)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over how many labels have been seen."""
        self.seen = int(state["seen"])

    def normaliser(self, task: Task) -> str:
        """Return the protocol's, or none where one of the labels is chosen: then two never are the same."""
        by_label = self.protocol.picks_labels and bool(task.classes)
        return "exact" if by_label else self.protocol.normaliser

    def metric(self, task: Task) -> str:
        """Return the task's own, or exact-match where it has labels and rouge-l where not.

        Where strings are compared as they are, Rouge-L is that of `benchmark.scoring.summary_rouge`.
        """
        metric = task.metric or ("exact-match" if task.classes else "rouge-l")
        as_is = self.protocol.normaliser == "exact"
        return "summary-rouge-l" if as_is and metric == "rouge-l" else metric


def sample_references(examples: Examples) -> list[str]:
    """Return one accepted answer per row, the same one whenever and wherever it is drawn."""
    assert examples.references is not None
    return [draw(accepted, name) for accepted, name in zip(examples.references, examples.ids, strict=True)]
