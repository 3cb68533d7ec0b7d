"""Puts a mixin before a method that is named by a hyper-parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from benchmark.errors import UserError
from benchmark.lora.method import LowRankMethod
from benchmark.method import Context
from benchmark.registry import METHODS

SHARED = ("learning_rate", "head_learning_rate", "optimizer", "weight_decay")


def over(
    base: str,
    mixin: type[LowRankMethod],
    fields: type[BaseModel],
    context: Context,
    chosen: BaseModel,
    base_settings: Mapping[str, Any],
) -> LowRankMethod:
    """Return a method of a class made of `mixin` and the method registered as `base`.

    Args:
        fields: the mixin's own hyper-parameters, read from `chosen` together with the shared ones.
        chosen: hyper-parameters of the method that the user named.
        base_settings: further hyper-parameters of the base; its defaults hold for what is not given.

    Raises:
        UserError: the base does not know one of `base_settings`, or refuses its value.
    """
    method = METHODS.load(base)
    own = {name: getattr(chosen, name) for name in fields.model_fields}
    shared = chosen.model_dump(include=set(SHARED), exclude_none=True)
    both = create_model("Hyperparameters", __base__=(fields, method.Hyperparameters))
    try:
        hyperparameters = both(**own | shared | dict(base_settings))
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise UserError(f"base_settings: {place}: {fault['msg']} (see: bench list --method {base})") from None
    return type(f"{mixin.__name__}{method.__name__}", (mixin, method), {})(context, hyperparameters)
