"""Any tuner of peft as a sequential method: one adapter for all tasks, trained on and on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.data.batches import Batch
from benchmark.errors import UserError, unknown
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Context, ParameterGroup, Phase
from benchmark.state import Sizes, learned
from methods.pieces.peft_configurations import TUNERS, Layers
from methods.pieces.peft_layers import ADAPTER, PeftMethod

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel


class TunerHyperparameters(LowRankHyperparameters):
    """The optimiser's settings, and what is set apart from the table of configurations."""

    configuration: dict[str, Any] = Field(
        {}, description="fields of the tuner's peft configuration that replace those chosen, as JSON"
    )


class SavedTuner:
    """What peft saves of a tuner: what is trained, and random matrices where the tuner has such."""

    def __init__(self, model: PeftModel, trained: list[nn.Parameter]) -> None:
        """Take a model with a tuner on it, and what is trained."""
        self.model = model
        self.trained = trained

    def state(self) -> dict[str, Tensor]:
        """Return what peft saves."""
        from peft import get_peft_model_state_dict

        saved = get_peft_model_state_dict(self.model, adapter_name=ADAPTER)
        return {name: tensor.detach() for name, tensor in saved.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.model, dict(state), adapter_name=ADAPTER)

    def sizes(self) -> Sizes:
        """Return what is trained; matrices that are random and only read are auxiliary, and in memory."""
        stored, saved = sum(parameter.numel() for parameter in self.trained), self.state().values()
        fixed = sum(tensor.numel() for tensor in saved) - stored
        return Sizes(stored, stored + fixed, fixed * next(iter(saved)).element_size())


class PeftTuner(PeftMethod):
    """One tuner of peft at the target layers, made before the first task and never replaced.

    Attributes:
        tuner: its name in the table of configurations.
    """

    Hyperparameters = TunerHyperparameters
    tried: ClassVar[bool] = True
    keeps = learned("adapter")
    tuner: ClassVar[str]

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Put the tuner on; what cannot be trained is refused here.

        Raises:
            UserError: the tuner has no configuration for these layers.
        """
        super().__init__(context, hyperparameters)
        self.peft = self.put_on(self._configuration())
        self.parameters = self.trained()
        self.adapter = SavedTuner(self.peft, self.parameters)
        self.task_model.before_batch(self._switch_dropout)

    def _configuration(self) -> PeftConfig:
        from peft import PeftType
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as TYPES

        chosen, own = TUNERS[self.tuner], self.hyperparameters.configuration
        make = TYPES[PeftType(chosen.type)]
        known = set(make.__dataclass_fields__) - {"target_modules", "peft_type"}
        for name in own:
            if name not in known:
                raise unknown(
                    f"field of peft's {make.__name__}", name, known, f"bench list --method seq-{self.tuner}"
                )
        fields = chosen.fields(Layers(self.linears, self.protocol)) | own
        try:
            return make(**fields)  # type: ignore[arg-type]
        except (ValueError, TypeError) as error:
            raise UserError(
                f"peft's {make.__name__} refuses {fields}: {' '.join(str(error).split())}"
            ) from error

    def _switch_dropout(self, batch: Batch) -> None:
        """Let the tuner's dropout act while training alone: predictions are made without gradients."""
        for layer in self.layers().values():
            layer.train(torch.is_grad_enabled())

    def phases(self, t: int) -> list[Phase]:
        """Return one phase over the tuner's parameters and the head."""
        chosen = self.hyperparameters
        group = ParameterGroup(self.parameters, chosen.learning_rate, chosen.weight_decay)
        return [self.main_phase(t, [group, *self.head_groups()])]

    def peft_checkpoint(self) -> tuple[PeftConfig, dict[str, Tensor]]:
        """Return the configuration and what peft saves."""
        return self.peft.peft_config[ADAPTER], self.adapter.state()

    def adapter_counts(self) -> tuple[int, int]:
        """Return one of one: the tuner."""
        return 1, 1
