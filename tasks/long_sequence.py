"""Long sequence: 15 text classification tasks in orders 4, 5 and 6 of O-LoRA."""

from __future__ import annotations

from benchmark.protocol import Protocol
from benchmark.stream import Stream, protocols
from tasks import standard_cl
from tasks.sources.text_classification import ORDERS

QUICK = standard_cl.QUICK

OLORA = standard_cl.OLORA.model_copy(
    update={
        "source": "O-LoRA (arXiv 2310.14152), scripts/long.sh of the official code; batch 8 on 8 devices",
        "epochs_by_task": {"mnli": 2},
    }
)

# SAPT keeps the best epoch by a dev file that equals its test file; here the last epoch counts.
SAPT = Protocol(
    name="sapt",
    source="SAPT (circle-hit/SAPT), long sequence with T5-large; batch 16 x 2; epochs and "
    "rank from GAIN (liangyanshuo/gainlora)",
    backbone="t5-large",
    epochs=10,
    batch_size=32,
    rank=8,
    targets=("query", "value"),
    validation=0.0,
    source_length=512,
    target_length=50,
    prompt="sapt",
    decoding="greedy",
)

STREAM = Stream(
    name="long-sequence",
    title="Long sequence, 15 text classification tasks",
    kind="text-classification",
    licence="differs by task, from BSD 2-clause (COPA) to non-commercial research on approval (Yahoo)",
    citation="Razdaibiedina et al., Progressive Prompts: Continual Learning for Language Models, 2023; "
    "Wang et al., Orthogonal Subspace Learning for Language Model Continual Learning, 2023",
    homepage="https://github.com/cmnfriend/O-LoRA",
    orders={name: ORDERS[name] for name in ("4", "5", "6")},
    protocols=protocols(QUICK, OLORA, SAPT),
    load=standard_cl.load,
)
