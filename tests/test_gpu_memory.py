"""Memory of a step, counted on shapes alone: the same as what the step keeps when it is run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmark.lora.stack import AdapterStack
from benchmark.models.label_scores import last_logits
from benchmark.registry import BACKBONES
from benchmark.running.gpu_memory import step_memory
from benchmark.running.kept_tensors import Kept
from tests import tiny
from tests.command import bench
from tests.test_accumulation import large_model

NAMES = ("llama-3.2-1b", "qwen3-0.6b")


def kept_by_running(name: str, protocol: Any, rows: int) -> int:
    """Return the bytes that a real step keeps, on a tiny model of the class."""
    module = large_model(name).eval().requires_grad_(False)
    stack = AdapterStack(module, protocol.targets, protocol.rank, 1.0, 0.0, None, protocol.blocks)
    stack.add(0)
    ids = torch.zeros(rows, 20, dtype=torch.int64)
    targets = torch.zeros(rows, 4, dtype=torch.int64)

    def loss() -> torch.Tensor:
        mask = torch.ones(rows, 1, 20, 20, dtype=torch.bool)
        logits = last_logits(module, {"input_ids": ids, "attention_mask": mask}, 5)
        return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2).float(), targets)

    return Kept({p.untyped_storage()._cdata for p in module.parameters()}).count(loss).total()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("blocks", ["all", "last:1"])
def test_shapes_alone_give_what_a_step_keeps(name: str, blocks: str) -> None:
    chosen = tiny.protocol("causal", blocks=blocks, micro_batches=2)
    found = step_memory(large_model(name).config, chosen)
    # A batch of 4 in two parts is 2 rows, of 16 tokens of a prompt and 4 of an answer.
    assert (found.rows, found.tokens) == (2, 20)
    real = kept_by_running(name, chosen, rows=2)
    # Attention on a CPU keeps its sums in a format of its own: within a tenth.
    assert found.activations == pytest.approx(real, rel=0.1) and real > 0


def test_the_parts_of_a_tiny_llama_by_hand() -> None:
    found = step_memory(large_model("llama-3.2-1b").config, tiny.protocol("causal"))
    # Embedding 50 x 32, shared with the head; in each of 2 blocks: query and output 32 x 32, key and value
    # 16 x 32, gate, up and down 64 x 32, two norms of 32; a last norm of 32.
    block = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32 + 2 * 32
    assert found.weights == 4 * (50 * 32 + 2 * block + 32)
    # Query and value of both blocks are copied; adapters of rank 2 have A 2 x 32 and B 32 x 2 or 16 x 2,
    # each number with a gradient and two moments.
    assert found.copies == 4 * 2 * (32 * 32 + 16 * 32)
    assert found.adapter == 4 * 4 * 2 * (2 * 32 + 32 * 2 + 2 * 32 + 16 * 2)


def test_checkpointing_and_smaller_parts_take_less() -> None:
    config = large_model("qwen3-0.6b").config
    plain, parts, both = (
        step_memory(config, tiny.protocol("causal", **settings)).activations
        for settings in ({}, {"micro_batches": 4}, {"micro_batches": 4, "gradient_checkpointing": True})
    )
    assert parts < 0.3 * plain and both < 0.8 * parts


@pytest.mark.parametrize(("name", "billions"), [("llama-3.2-1b", 1.24), ("qwen3-0.6b", 0.60)])
def test_a_preset_s_shape_has_the_size_of_its_name(name: str, billions: float) -> None:
    import transformers

    with torch.device("meta"):
        module = transformers.AutoModelForCausalLM.from_config(BACKBONES.load(name).shape())
    assert sum(parameter.numel() for parameter in module.parameters()) / 1e9 == pytest.approx(
        billions, abs=0.01
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_states_the_memory_of_a_gpu(name: str) -> None:
    done = bench(
        *("run", "--method", "o-lora", "--stream", "standard-cl", "--protocol", "olora", "--backbone", name),
        *("--set", "protocol.gradient_checkpointing=true", "--set", "protocol.micro_batches=8", "--dry-run"),
    )
    listed = name.replace(".", "-")
    assert f"memory    of {listed} on standard-cl: " in done.stdout, done.stderr
    assert "GiB a GPU in float32: weights " in done.stdout and "of 8 rows of 562 tokens" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_counted_as_autocast_keeps_it(name: str) -> None:
    chosen = tiny.protocol("causal", precision="bf16", micro_batches=2)
    found = step_memory(large_model(name).config, chosen)
    with torch.autocast("cpu", torch.bfloat16):
        real = kept_by_running(name, chosen, rows=2)
    assert found.activations == pytest.approx(real, rel=0.15)


def test_weights_by_format_and_gpu_by_hand() -> None:
    config = large_model("llama-3.2-1b").config
    linear, outside, norms = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32, 50 * 32 + 32, 2 * 32

    def of(gpus: int = 1, **settings: Any) -> Any:
        return step_memory(config, tiny.protocol("causal", **settings), gpus)

    adapted = 32 * 32 + 16 * 32
    # In bf16 adapted layers stay float32, others take 2 bytes, and so does the tied output layer's copy.
    halves = 2 * 50 * 32 + 2 * (2 * (linear - adapted) + 4 * adapted)
    assert of(precision="bf16").weights == 4 * outside + 4 * 2 * norms + halves
    # An int8 row has a scale: 32 + 32 + 16 + 16 + 64 + 64 + 32 rows; nf4 one for 64 numbers.
    rows = 2 * 32 + 2 * 16 + 2 * 64 + 32
    assert of(quantization="int8").weights == 4 * (outside + 2 * norms) + 2 * (linear + 4 * rows)
    four = of(quantization="nf4")
    assert four.weights == 4 * (outside + 2 * norms) + 2 * (linear // 2 + 4 * linear // 64)
    assert four.copies == four.adapter // 4 and "in float32, frozen weights in nf4: weights" in str(four)
    # One block each: the first GPU has the embeddings, the adapters and the logits too.
    whole, first = of(), of(gpus=2)
    assert first.weights == 4 * (outside + norms + linear) and first.copies == whole.copies // 2
    assert first.adapter == whole.adapter
    # The lowest block keeps a little less: nothing below it is trained.
    assert 0.45 * whole.activations < first.activations < 0.55 * whole.activations
    assert "on the fullest of 2 GPUs in float32" in str(first)
