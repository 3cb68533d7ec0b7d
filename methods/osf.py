"""OSF: full fine-tuning inside the small singular directions of each weight, through peft (arXiv 2504.07097).

Idea: the large singular directions of a weight carry what it has learned so far, the small ones are free. A
task trains the small part, with gradients kept off the large one; then the weight is decomposed anew and a
larger part is kept. Official repository: Red-Hat-AI-Innovation-Team/orthogonal-subspace-learning; `OSFConfig`
in peft is used unmodified.

Trained per task: the small singular vectors and values of the target layers, and the head rows of the task's
classes. Frozen: the rest of the backbone. This method changes the backbone's own weights. Stored: the target
layers' weights; no adapter remains. Needs neither task id, old data nor statistics. Works on every kind of
backbone. By the number of trained parameters it is not parameter-efficient.

Differences from the official code: the kept share of directions is the same in all layers and rises evenly
over the tasks, where the paper derives it from each layer's importance; only the protocol's target layers are
trained, where the paper trains all linear layers. peft projects gradients, which an adaptive optimiser's
steps follow only approximately.

Defaults that differ from the released program: learning rate and kept shares are this suite's (there AdamW
5e-6 to 1e-5, and a share by layer or 0.2 of its directions, by script).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field
from torch import Tensor

from benchmark.data.batches import Rows
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Context, ParameterGroup, Phase
from benchmark.state import stored
from methods.pieces.peft_layers import PeftMethod


class SubspaceHyperparameters(LowRankHyperparameters):
    """The kept share beside the optimiser's settings."""

    first_kept: float = Field(
        0.5, gt=0, lt=1, description="share of singular directions kept in the first task"
    )
    last_kept: float = Field(0.9, gt=0, lt=1, description="share kept in the last task")


class TargetWeights:
    """The weights of a method's target layers, which take no further room: they are the backbone's own."""

    def __init__(self, layers: Callable[[], dict[str, Any]]) -> None:
        """Take what returns the layers by name, plain or as peft has wrapped them."""
        self.layers = layers

    def state(self) -> dict[str, Tensor]:
        """Return the weights by layer."""
        plain = {name: getattr(layer, "base_layer", layer) for name, layer in self.layers().items()}
        return {name: layer.weight.detach() for name, layer in plain.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for name, layer in self.layers().items():
            layer.weight.data.copy_(state[name])


class OrthogonalSubspaceFineTuning(PeftMethod):
    """peft's OSF around the target layers while a task is learned, merged afterwards."""

    Hyperparameters = SubspaceHyperparameters
    no_sum = "its updates have full rank"
    changes_backbone = True
    keeps = stored("weights", in_memory=False)

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start from the pretrained weights."""
        super().__init__(context, hyperparameters)
        self.weights = TargetWeights(self.layers)

    def begin_task(self, t: int, rows: Rows) -> None:
        """Decompose the target weights as the last task left them."""
        from peft import OSFConfig

        rank: dict[str, int | float] = {
            f"^{name}$".replace(".", r"\."): self._count_kept(name, t) for name in self.linears
        }
        self.put_on(OSFConfig(rank_pattern=rank))

    def _count_kept(self, name: str, t: int) -> int:
        chosen = self.hyperparameters
        passed = t / max(1, self.task_count - 1)
        share = chosen.first_kept + (chosen.last_kept - chosen.first_kept) * passed
        directions = min(self.linears[name].weight.shape)
        return min(max(1, round(share * directions)), directions - 1)

    def phases(self, t: int) -> list[Phase]:
        """Return one phase over the small parts and the head."""
        chosen = self.hyperparameters
        group = ParameterGroup(self.trained(), chosen.learning_rate, chosen.weight_decay)
        return [self.main_phase(t, [group, *self.head_groups()])]

    def end_task(self, t: int, rows: Rows) -> None:
        """Merge what was learned into plain layers."""
        self.take_off()


METHOD = OrthogonalSubspaceFineTuning
