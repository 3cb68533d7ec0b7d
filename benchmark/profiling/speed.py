"""Measures what a training step costs as tasks pile up: merged and stacked, against peft's sum."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

from benchmark.lora.stack import AdapterStack
from benchmark.models.backbone import quiet
from benchmark.profiling.step_timer import StepTimer, Times
from benchmark.running.building import prepare_device

ROUNDS = 5


@dataclass(frozen=True)
class Size:
    """What is timed: a ViT's width and blocks, the tokens of an image, the images of a step, the rank.

    There are 64 numbers of the width to an attention head. An image has one token more than it has pixels,
    so `tokens` is rounded to a square and one.
    """

    width: int = 384
    blocks: int = 6
    tokens: int = 65
    batch: int = 16
    rank: int = 10

    @property
    def side(self) -> int:
        """Pixels of an image's side."""
        return max(1, round((self.tokens - 1) ** 0.5))

    def shape(self) -> ViTConfig:
        """Return the ViT of that size."""
        return ViTConfig(
            hidden_size=self.width,
            num_hidden_layers=self.blocks,
            num_attention_heads=max(1, self.width // 64),
            intermediate_size=4 * self.width,
            image_size=self.side,
            patch_size=1,
        )


def main(tasks: list[int], size: Size, device: str = "cpu") -> None:
    """Time every variant at every number of tasks, in turn, and print the table of ratios.

    The table is markdown: median seconds of a step at the first T with the least and the most, then ratios
    of medians to the same variant there. A line follows where the machine was too busy to believe them.

    Args:
        tasks: numbers of adapters T, the current one included; ratios are to the first.
    """
    import transformers

    quiet(transformers)
    # peft asks transformers for something that a later version renames.
    warnings.simplefilter("ignore", FutureWarning)
    place = prepare_device(device)
    torch.manual_seed(0)
    shape = size.shape()
    images = torch.randn(size.batch, 3, size.side, size.side).to(place)
    variants: dict[str, Callable[[ViTConfig, int, int], nn.Module]] = {
        "fixed scales, merged": build_merged,
        "learned scales, stacked": build_stacked,
        "peft, adapters summed one by one": build_peft_sum,
    }
    timer, rows = StepTimer(place), []
    for name, make in variants.items():
        with place:
            models = {count: make(shape, count, size.rank) for count in tasks}
        times = time_interleaved(timer, models, images)
        first = times[tasks[0]]
        ratios = {f"T = {count}": f"{times[count].median / first.median:.2f}" for count in tasks}
        rows.append({"variant": name, f"{timer.clock} at T = {tasks[0]}": first.describe(), **ratios})
    print_times(rows, timer)


def print_times(rows: list[dict[str, str]], timer: StepTimer) -> None:
    """Print a table of times as markdown, and below it a line where they are not to be believed."""
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))
    if (warning := timer.warning()) is not None:
        print(f"\n{warning}")


def time_interleaved(timer: StepTimer, models: dict[int, nn.Module], images: Tensor) -> dict[int, Times]:
    """Return the times of a step of each model; the models take turns, so that drift hits all."""
    times = {count: timer.new() for count in models}
    for turn in range(ROUNDS + 1):
        for count, model in models.items():
            # The first turn warms up.
            time_step(timer, times[count] if turn else Times(), model, images)
    return times


def time_step(timer: StepTimer, times: Times, model: nn.Module, images: Tensor) -> None:
    """Time one forward, backward and optimiser step."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-3)
    started = timer.mark()
    loss = model(pixel_values=images).last_hidden_state[:, 0].square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    timer.between(times, started, timer.mark())


def _with_past(shape: ViTConfig, count: int, rank: int) -> tuple[ViTModel, AdapterStack]:
    model = ViTModel(shape, add_pooling_layer=False)
    stack = AdapterStack(model, ("query", "value"), rank)
    for task in range(count):
        stack.freeze_current()
        stack.add(task)
        for lora_b in stack.lora_b():
            nn.init.normal_(lora_b, std=0.02)
    return model, stack


def build_merged(shape: ViTConfig, count: int, rank: int) -> nn.Module:
    """Return a model whose frozen adapters are merged into its weights, as where scales are fixed."""
    model, stack = _with_past(shape, count, rank)
    stack.merge_frozen()
    return model


def build_stacked(shape: ViTConfig, count: int, rank: int) -> nn.Module:
    """Return a model with one learned magnitude per task over normalised directions."""
    model, stack = _with_past(shape, count, rank)
    magnitudes = nn.Parameter(torch.ones(count))
    model.register_parameter("magnitudes", magnitudes)
    norms = stack.factor_norms()
    stack.learned_scales = lambda: (magnitudes[:-1] / norms, magnitudes[-1].expand(len(stack.layers)))
    return model


def build_peft_sum(shape: ViTConfig, count: int, rank: int) -> nn.Module:
    """Return a peft model with `count` active adapters of which the last is trained."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model: Any = get_peft_model(ViTModel(shape, add_pooling_layer=False), config, adapter_name="task0")
    for task in range(1, count):
        model.add_adapter(f"task{task}", config)
    names = [f"task{task}" for task in range(count)]
    model.base_model.set_adapter(names)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(f".{names[-1]}." in name)
    return model
