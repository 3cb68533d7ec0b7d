"""The target layers under a tuner of peft, which is used as it is: put on, trained, taken off."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from torch import nn

from benchmark.errors import UserError
from benchmark.lora.targets import find_targets
from benchmark.method import Context, Method

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

ADAPTER = "default"


class PeftMethod(Method):
    """A method whose adapters are those of peft, at the protocol's target layers.

    Attributes:
        module: the backbone's; peft changes its layers in place.
        linears: the target layers by dotted name, as they were before any tuner.
    """

    # What each tuner does with them is peft's business.
    reads_weights = True

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Freeze the backbone and find its target layers."""
        super().__init__(context, hyperparameters)
        self.module = self.task_model.backbone.module
        self.module.requires_grad_(False)
        self.linears = find_targets(self.module, self.protocol.targets, self.protocol.blocks)

    def put_on(self, config: PeftConfig) -> PeftModel:
        """Put a tuner on the target layers; afterwards exactly its parameters require a gradient.

        Raises:
            UserError: peft refuses; one line says what it says.
        """
        from peft import get_peft_model

        config.target_modules = list(self.linears)  # type: ignore[attr-defined]
        try:
            with warnings.catch_warnings():
                # That a vector backbone has no configuration of transformers, or that a seed is fixed.
                warnings.simplefilter("ignore")
                # Else what was asked for would be replaced by what fits.
                warnings.filterwarnings("error", message=".*Adjusted")
                return get_peft_model(self.module, config, ADAPTER)  # type: ignore[arg-type]
        except (ValueError, TypeError, RuntimeError, AssertionError, Warning) as error:
            raise UserError(
                f"peft's {type(config).__name__} cannot be put on the layers "
                f"{', '.join(self.protocol.targets)} of {type(self.module).__name__}: "
                f"{' '.join(str(error).split())}"
            ) from error

    def trained(self) -> list[nn.Parameter]:
        """Return the parameters of the tuner that has just been put on."""
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def layers(self) -> dict[str, Any]:
        """Return the target layers by name, as the tuner has wrapped them or plain."""
        return {name: self.module.get_submodule(name) for name in self.linears}

    def take_off(self) -> None:
        """Merge what was learned into the weights and put the plain layers back."""
        for name, layer in self.layers().items():
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(self.module.get_submodule(parent), child, layer.get_base_layer())
        # Else peft warns at the next task that the model holds an adapter.
        vars(self.module).pop("peft_config", None)
