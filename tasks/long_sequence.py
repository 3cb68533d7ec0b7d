"""Long sequence: 15 text classification tasks in orders 4, 5 and 6 of O-LoRA.

SAPT's code, SAPT's paper and GainLoRA number two of the three otherwise; their numbers are aliases here.
"""

from __future__ import annotations

from benchmark.protocol import Protocol
from benchmark.stream import Stream, protocols
from tasks import standard_cl
from tasks.sources import text_classification_rows
from tasks.sources.text_classification import ORDERS, TASKS

# After each task all tasks so far are scored: with 200 rows of each, half of the time of a run went there.
SMOKE = standard_cl.SMOKE.model_copy(update={"test_limit": 100})

OLORA = standard_cl.OLORA.model_copy(
    update={
        "source": "O-LoRA (arXiv 2310.14152), scripts/long.sh of the official code; batch 8 on 8 devices",
        "epochs_by_task": {"mnli": 2},
    }
)

# SAPT and GainLoRA keep the best epoch by a dev file that equals their test file; here the last epoch counts.
SAPT = Protocol(
    name="sapt",
    source="SAPT (circle-hit/SAPT), gen_script_long_t5.py; batch 16 with 2 accumulation steps",
    backbone="t5-large",
    epochs=10,
    batch_size=32,
    rank=8,
    alpha=32,
    dropout=0.0,
    targets=("query", "value"),
    validation=0.0,
    source_length=512,
    target_length=50,
    prompt="sapt",
    decoding="greedy",
)

GAINLORA = SAPT.model_copy(
    update={
        "name": "gainlora",
        "source": "GainLoRA (liangyanshuo/gainlora), long sequence with T5-large; batch 8 with 4 "
        "accumulation steps",
    }
)

STREAM = Stream(
    name="long-sequence",
    title="Long sequence, 15 text classification tasks",
    kind="text-classification",
    licence="differs by task, from BSD 2-clause (COPA) to non-commercial research on approval (Yahoo)",
    citation="Razdaibiedina et al., Progressive Prompts: Continual Learning for Language Models, 2023; "
    "Wang et al., Orthogonal Subspace Learning for Language Model Continual Learning, 2023",
    homepage="https://github.com/cmnfriend/O-LoRA",
    orders={name: order for name, order in ORDERS.items() if len(order) == len(TASKS)},
    protocols=protocols(SMOKE, OLORA, SAPT, GAINLORA),
    load=text_classification_rows.load,
    sources=text_classification_rows.sources([ORDERS["4"]]),
    aliases={
        "sapt-4": "6",
        "sapt-5": "4",
        "sapt-paper-3": "6",
        "sapt-paper-4": "4",
        "gainlora-3": "6",
        "gainlora-4": "4",
    },
)
