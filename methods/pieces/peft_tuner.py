"""Any tuner of peft as a sequential method: one adapter for all tasks, trained on and on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.batches import Batch
from benchmark.errors import UserError, unknown
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Accounting, Context, ParameterGroup, Phase, part
from methods.pieces.peft_configurations import TUNERS, Layers
from methods.pieces.peft_layers import ADAPTER, PeftMethod

if TYPE_CHECKING:
    from peft import PeftConfig


class TunerHyperparameters(LowRankHyperparameters):
    """The optimiser's settings, and what is set apart from the table of configurations."""

    configuration: dict[str, Any] = Field(
        {}, description="fields of the tuner's peft configuration that replace those chosen, as JSON"
    )


class PeftTuner(PeftMethod):
    """One tuner of peft at the target layers, made before the first task and never replaced.

    Attributes:
        tuner: its name in the table of configurations.
    """

    Hyperparameters = TunerHyperparameters
    tried: ClassVar[bool] = True
    tuner: ClassVar[str]

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Put the tuner on; what cannot be trained is refused here.

        Raises:
            UserError: the tuner has no configuration for these layers.
        """
        super().__init__(context, hyperparameters)
        self.peft = self.put_on(self._configuration())
        self.parameters = self.trained()
        self.objective.before_batch(self._switch_dropout)

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
        """Let the tuner's dropout be drawn while training alone: predictions are made without gradients."""
        for layer in self.layers().values():
            layer.train(torch.is_grad_enabled())

    def phases(self, t: int) -> list[Phase]:
        """Return one phase over the tuner's parameters and the head."""
        chosen = self.hyperparameters
        group = ParameterGroup(self.parameters, chosen.learning_rate, chosen.weight_decay)
        return [self.main_phase(t, [group, *self.head_groups()])]

    def adapter(self) -> dict[str, Tensor]:
        """Return what peft saves: what is trained, and random matrices where the tuner has such."""
        from peft import get_peft_model_state_dict

        saved = get_peft_model_state_dict(self.peft, adapter_name=ADAPTER)
        return {name: tensor.detach() for name, tensor in saved.items()}

    def peft_checkpoint(self) -> tuple[PeftConfig, dict[str, Tensor]]:
        """Return the configuration and what peft saves."""
        return self.peft.peft_config[ADAPTER], self.adapter()

    def accounting(self) -> Accounting:
        """Count what is trained as stored; matrices that are drawn once and only read are auxiliary."""
        stored = sum(parameter.numel() for parameter in self.parameters)
        saved = self.adapter().values()
        fixed = sum(x.numel() for x in saved) - stored
        size = next(iter(saved)).element_size()
        return Accounting(stored, stored + fixed, adapters=1, active=1, auxiliary_bytes=fixed * size)

    def state(self) -> dict[str, Tensor]:
        """Return head and adapter."""
        return super().state() | {f"adapter.{name}": tensor for name, tensor in self.adapter().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over head and adapter."""
        from peft import set_peft_model_state_dict

        super().restore(state)
        set_peft_model_state_dict(self.peft, part(state, "adapter."), adapter_name=ADAPTER)
