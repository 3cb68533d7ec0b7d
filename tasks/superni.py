"""SuperNI: 15 generation tasks in 5 categories, in SAPT's two orders and eight of ours; scored by Rouge-L."""

from __future__ import annotations

from benchmark.protocol import Protocol
from benchmark.stream import Stream, protocols
from tasks.sources import natural_instructions, text_protocols

SMOKE = Protocol(
    name="smoke",
    source="this suite: minutes on one CPU core",
    backbone="minilm-s2s",
    epochs=3,
    batch_size=16,
    rank=8,
    targets=("query", "value"),
    train_limit=160,
    test_limit=32,
    source_length=128,
    target_length=16,
    prompt="superni",
)

STANDARD = text_protocols.standard(
    order="own-10",
    source="this suite: a comparison of adapters on a language model that writes its answers; every row "
    "searched by the same rule, on order own-10 and seed 1000; run i has order i and seed i, i below 10",
    blocks="last:10",
    test_limit=20,
    # As in SAPT's program: one prompt alone has 189 tokens.
    source_length=512,
    target_length=24,
    prompt="superni",
    decoding="greedy",
)

# SAPT and GainLoRA keep the best epoch by a dev file that equals their test file; here the last epoch counts.
SAPT = Protocol(
    name="sapt",
    source="SAPT (circle-hit/SAPT), SuperNI with T5-large; batch 8 with 4 accumulation steps",
    backbone="t5-large",
    epochs=100,
    batch_size=32,
    rank=4,
    alpha=32,
    dropout=0.0,
    targets=("query", "value"),
    validation=0.0,
    source_length=512,
    target_length=50,
    prompt="superni",
    decoding="greedy",
    references="drawn",
)

GAINLORA = SAPT.model_copy(
    update={
        "name": "gainlora",
        "source": "GainLoRA (liangyanshuo/gainlora), SuperNI with T5-large; batch 16 with 2 "
        "accumulation steps",
    }
)

STREAM = Stream(
    name="superni",
    title="SuperNI, 15 generation tasks in 5 categories",
    kind="text-to-text",
    licence="Apache-2.0 for the instructions; instances differ by task, some non-commercial or not stated",
    citation="Wang et al., Super-NaturalInstructions, 2022; "
    "Zhao et al., SAPT: A Shared Attention Framework for Parameter-Efficient Continual Learning, 2024",
    homepage="https://github.com/circle-hit/SAPT",
    orders=natural_instructions.ORDERS,
    protocols=protocols(SMOKE, STANDARD, SAPT, GAINLORA),
    load=lambda request: natural_instructions.load(request, natural_instructions.ORDERS[request.order]),
    sources=natural_instructions.SOURCES,
)
