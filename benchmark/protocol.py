"""A protocol: the named budget, data size and scoring rules that every run of a table shares."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from benchmark.space import SearchRule

HeadProtocol = Literal["class-incremental", "task-incremental", "domain-incremental", "nearest-class-mean"]
PromptStyle = Literal["plain", "olora", "olora-anonymous", "olora-open", "sapt", "superni", "trace", "chat"]
Schedule = Literal["constant", "linear", "cosine", "cosine-by-epoch", "quarter-cosine-by-epoch"]
ADDED_LATER = frozenset(
    {
        *("selection", "schedule", "milestones", "milestone_factor", "normaliser", "crop_area", "alignment"),
        *("blocks", "prefix_dtype", "score_at", "precision", "search", "first_tasks"),
        *("selection_steps", "repeat", "micro_batches", "gradient_checkpointing"),
        *("quantization", "attention"),
    }
)
WITHOUT_EFFECT = frozenset({"source", "evaluation_batch_size"})
"""Settings that cannot change a number: no part of a run's key, and they do not set a table apart, so that
people with less memory share both."""
OF_A_METHOD = frozenset({"alignment"})
"""Settings that add something to a method: they name its row, and do not set a table apart."""


def describe_storage(quantization: str, attention: str) -> str:
    """Return how frozen weights and attention differ from the plain model's; "" where they do not."""
    weights = "" if quantization == "none" else f"frozen weights in {quantization}"
    return ", ".join(filter(None, [weights, "" if attention == "default" else f"{attention} attention"]))


class Protocol(BaseModel):
    """Everything but the method that decides a score; printed before a run and stored in its result.

    Learning rates and optimisers belong to a method's hyper-parameters, not here: two methods that share
    a protocol see the same data for the same number of epochs through adapters of the same rank.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str = Field(description="where the settings come from: a paper, a config file, or this suite")
    backbone: str = Field(description="key of the backbone used where none is asked for")
    head: HeadProtocol = Field(
        "class-incremental",
        description="all classes seen compete; only the given task's; classes shared by all tasks; or the "
        "nearest mean feature of all classes seen, kept from when each was learned",
    )
    loss: Literal["local", "full"] = Field(
        "local", description="cross-entropy over the classes of the current task, or over all classes seen"
    )
    epochs: int = Field(1, ge=1, description="passes over a task's training data in its main phase")
    epochs_by_task: dict[str, int] = Field(
        default_factory=dict, description="exceptions to `epochs`, by task name"
    )
    batch_size: int = Field(16, ge=1)
    micro_batches: int = Field(
        1,
        ge=1,
        description="gradient accumulation: parts that a step's batch is computed in, one after another",
    )
    gradient_checkpointing: bool = Field(
        False, description="keep a block's input alone and compute it again for the gradient"
    )
    evaluation_batch_size: int = Field(64, ge=1)
    rank: int = Field(8, ge=1, description="rank of one adapter")
    alpha: float | None = Field(None, gt=0, description="LoRA alpha, scale = alpha / rank; none: scale 1")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the adapters' input")
    targets: tuple[str, ...] = Field(
        ("query", "value"),
        description="adapted linear layers: roles (query, key, value, output, gate, up, down), module:NAME "
        "for those of a name, or all-linear",
    )
    blocks: str = Field(
        "all",
        description="the adapted blocks: all, last:4, first:2, or their numbers from 0; what lies below the "
        "first is computed once",
    )
    prefix_dtype: Literal["float32", "float16", "bfloat16"] = Field(
        "float32", description="how the outputs of the blocks below the first adapted one are stored"
    )
    precision: Literal["float32", "tf32", "bf16"] = Field(
        "float32",
        description="of the backbone's products: float32, tf32 on a GPU, or bf16 (weights, adapters "
        "and optimiser stay float32), refused where the processor does not have it",
    )
    quantization: Literal["none", "int8", "nf4"] = Field(
        "none",
        description="of a causal model's frozen linear layers, by bitsandbytes: none, int8 (LLM.int8, whose "
        "products are 8-bit integers), or nf4 (4 bits, unpacked for each product); adapters stay float32",
    )
    attention: Literal["default", "flash"] = Field(
        "default", description="as the model's class chooses, or flash attention 2, on a GPU and in bf16"
    )
    score_at: Literal["every", "diagonal+last"] = Field(
        "every",
        description="score all tasks seen after every task, or the task just learned and all after the last",
    )
    schedule: Schedule = Field(
        "constant",
        description="of the learning rates over a task's main phase: constant, or down to 0 on a line or "
        "half a cosine, or to 1.6 % on a quarter of one; a method that has a schedule of its own keeps it",
    )
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (), description="shares of the epochs after which the learning rates are multiplied by the factor"
    )
    milestone_factor: float = Field(0.1, gt=0, le=1, description="of the milestones")
    selection: Literal["last", "validation", "paper"] = Field(
        "last",
        description="which epoch of the main phase counts: the last, the best on validation rows of the "
        "task, or the best on its TEST rows as some papers do",
    )
    selection_steps: int | None = Field(
        None,
        ge=1,
        description="a phase that decides which adapters stay takes at least so many steps, in batches of at "
        "most `batch_size`; none: as the method has it",
    )
    gradient_clip: float | None = Field(None, gt=0, description="largest norm of a step's gradient")
    train_limit: int | None = Field(None, ge=1, description="training rows of a task, drawn by the seed")
    test_limit: int | None = Field(None, ge=1, description="test rows of a task, the same for all seeds")
    validation: float = Field(0.1, ge=0, lt=1, description="share of train held out where a source has none")
    score_on: Literal["test", "validation"] = Field(
        "test", description="the split that fills the score matrix; validation while tuning"
    )
    source_length: int = Field(128, ge=8, description="most tokens of a prompt")
    target_length: int = Field(16, ge=1, description="most tokens of an answer")
    prompt: PromptStyle = Field("plain", description="whose words stand around a text")
    decoding: Literal["greedy", "labels", "labels-sum"] = Field(
        "greedy",
        description="free greedy decoding, or the label whose tokens, its end included, have the highest "
        "mean log-likelihood, or the highest sum",
    )
    references: Literal["best", "drawn"] = Field(
        "best", description="Rouge-L by the best of several references, or by one drawn once"
    )
    normaliser: Literal["words", "words-no-articles", "exact"] = Field(
        "words",
        description="exact match compares lower-case words without punctuation (O-LoRA, SAPT), the same "
        "without a, an, the (SQuAD), or the strings as they are, with Rouge-L as TRACE computes it (TRACE)",
    )
    pixels: Literal["backbone", "unit"] = Field(
        "backbone", description="the backbone's own mean and deviation, or plain [0, 1]"
    )
    augmentation: Literal["none", "crop", "crop-flip"] = "none"
    crop_area: float = Field(0.05, gt=0, le=1, description="least share of an image that a random crop keeps")
    alignment: int = Field(
        0,
        ge=0,
        description="epochs in which the head learns from Gaussians of all classes after each task but the "
        "first: classifier alignment, 5 as SLCA published it; 0: none",
    )

    first_tasks: int | None = Field(
        None, ge=1, description="learn so many tasks of the order and leave out the others; none: all"
    )
    repeat: int = Field(
        1, ge=1, le=20, description="times that the whole order is learned, each time from other rows"
    )
    search: SearchRule | None = Field(
        None, description="how every row's optimiser and learning rate are chosen; none: no rule"
    )

    @field_validator("blocks", mode="before")
    @classmethod
    def _listed_blocks(cls, value: Any) -> Any:
        """Take a list of numbers, or one number, as its text."""
        if isinstance(value, list | tuple):
            value = ",".join(str(number).strip() for number in value)
        if re.fullmatch(r"all|(first|last):\d+|\d+(,\d+)*", str(value)) is None:
            raise ValueError("all, last:4, first:2, or numbers from 0 such as 8,9,11")
        return str(value)

    @model_validator(mode="after")
    def _alignment_of_competing_classes(self) -> Protocol:
        if self.alignment and self.head != "class-incremental":
            raise ValueError(
                f"alignment={self.alignment} needs the head class-incremental, where classes of all tasks "
                f"compete, not {self.head}"
            )
        return self

    @property
    def picks_labels(self) -> bool:
        """Whether a language model chooses one of the labels, where a task has any."""
        return self.decoding != "greedy"

    @property
    def stored(self) -> str:
        """How frozen weights and attention differ from the plain model's, in words; "" where they do not."""
        return describe_storage(self.quantization, self.attention)

    def identity(self) -> dict[str, Any]:
        """Return the values that name a run, as JSON: all that can change a number, later ones where set.

        So a result written before a setting existed stays the result of the same run.
        """
        fields = type(self).model_fields
        unchanged = {name for name in ADDED_LATER if getattr(self, name) == fields[name].default}
        settings = self.model_dump(mode="json", exclude=unchanged | WITHOUT_EFFECT)
        if self.search is not None:
            # It chooses among values, and they are in the key. Keys made before there was a choice hold this.
            settings["search"]["objective"] = SearchRule.model_fields["objective"].default
        return settings
