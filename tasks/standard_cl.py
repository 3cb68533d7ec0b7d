"""Standard CL benchmark: DBpedia, Amazon, Yahoo, AG News in O-LoRA's three orders; with Yelp in four more.

Orders 1 to 3 are O-LoRA's, of 4 tasks; `own-4` to `own-10` are further ones of these tasks by this suite, for
comparisons over ten runs; `own-11` is for searches alone. `five-1` to `five-4` are the 5-task orders of the
MbPA++ line of papers, see `tasks.sources.text_classification`.
"""

from __future__ import annotations

from benchmark.protocol import Protocol
from benchmark.stream import Stream, protocols
from tasks.sources import text_classification_rows, text_protocols
from tasks.sources.text_classification import ORDERS, TASKS

SMOKE = Protocol(
    name="smoke",
    source="this suite: minutes on one CPU core",
    backbone="minilm",
    epochs=2,
    batch_size=16,
    rank=8,
    targets=("query", "value"),
    train_limit=400,
    test_limit=200,
    source_length=64,
    prompt="plain",
)

OLORA = Protocol(
    name="olora",
    source="O-LoRA (arXiv 2310.14152), scripts/order_1.sh to 3 of the official code; batch 8 on 8 devices",
    backbone="t5-large",
    epochs=1,
    batch_size=64,
    rank=8,
    alpha=32,
    dropout=0.1,
    targets=("query", "value"),
    gradient_clip=1.0,
    validation=0.0,
    source_length=512,
    target_length=50,
    prompt="olora",
    decoding="greedy",
)

STANDARD = text_protocols.standard(
    order="own-11",
    source="this suite: a comparison of adapters on a language model that has no head; every row searched by "
    "the same rule, on order own-11 (dbpedia, yahoo, amazon) and seed 1000; run i has order i and seed i",
    blocks="last:4",
    # Joint LoRA read 46 with query and value alone and 67 with these, once each, on 50 validation rows of
    # three tasks after 100 training rows a task (at 0.005 and 0.003, labels by their mean).
    targets=("query", "value", "up", "down"),
    # Any processor can add a row; last digits may differ.
    precision="float32",
    # 150 steps a task. Sequential LoRA then learns a task to 64 (84, 62 and 46 of dbpedia, yahoo and amazon,
    # once, at AdamW 0.001 on 50 validation rows each); 100 rows and 50 steps taught SD-LoRA 32 at its best.
    train_limit=300,
    test_limit=100,
    # Leaves 67 tokens to a text; half of a task's texts have more than 58 to 94.
    source_length=80,
    # Lists no labels, which would tell the task; the question still tells sentiment from topic, and the
    # layout of a text often the rest.
    prompt="olora-open",
    decoding="labels-sum",
)

STANDARD_MINILM = STANDARD.model_copy(
    update={
        "name": "standard-minilm",
        "source": "this suite: a comparison of adapters on an encoder with a head; every row searched by the "
        "same rule, on order own-11 (dbpedia, yahoo, amazon) and seed 1000; run i has order i and seed i",
        "backbone": "minilm",
        "epochs": 4,
        "batch_size": 16,
        "blocks": "all",
        "targets": ("query", "value"),
        "gradient_clip": None,
        "schedule": "constant",
        "train_limit": 400,
        "test_limit": 200,
        # No prompt takes part of them: half of a task's texts have more than 54 to 107 tokens.
        "source_length": 128,
        "score_at": "every",
        "prompt": "plain",
        "decoding": "greedy",
    }
)

STREAM = Stream(
    name="standard-cl",
    title="Standard CL benchmark, 4 text classification tasks, or 5",
    kind="text-classification",
    licence="AG News: academic use; Amazon: not stated; DBpedia: CC BY-SA 3.0; Yahoo: non-commercial; "
    "Yelp: Yelp dataset terms",
    citation="Zhang, Zhao and LeCun, Character-level Convolutional Networks for Text Classification, 2015; "
    "Wang et al., Orthogonal Subspace Learning for Language Model Continual Learning, 2023",
    homepage="https://github.com/cmnfriend/O-LoRA",
    orders={name: order for name, order in ORDERS.items() if len(order) < len(TASKS)},
    protocols=protocols(SMOKE, STANDARD, STANDARD_MINILM, OLORA),
    load=text_classification_rows.load,
    sources=text_classification_rows.sources(order for order in ORDERS.values() if len(order) < len(TASKS)),
)
