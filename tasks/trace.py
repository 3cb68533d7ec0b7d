"""TRACE: 8 text-to-text tasks of three languages and code, each with its own score, in two orders.

Scores, all in 0..1: exact match of the letter (C-STANCE, FOMC) or of the number (NumGLUE), Rouge-L
(MeetingBank), edit similarity (Py150), the first letter (ScienceQA), SARI (20Minuten). The protocol `trace`
compares strings as they are, and its Rouge-L is that of the official scorer, over white-space words; `smoke`
forgives case and punctuation, and stems. The official code hands SARI the whole prompt as the source; here it
gets the paragraph alone.

Rows that the source repeats, and train or eval rows that are also in test, are left out and
counted. A long text is cut, never the words around it, while the official code cuts whatever stands last.
"""

from __future__ import annotations

from benchmark.protocol import Protocol
from benchmark.stream import Sources, Stream, protocols
from tasks import superni
from tasks.sources import trace_rows

ORDERS = {
    "1": ("C-STANCE", "FOMC", "MeetingBank", "Py150", "ScienceQA", "NumGLUE-cm", "NumGLUE-ds", "20Minuten"),
    "2": ("NumGLUE-cm", "NumGLUE-ds", "FOMC", "20Minuten", "C-STANCE", "Py150", "MeetingBank", "ScienceQA"),
}


SMOKE = superni.SMOKE.model_copy(update={"train_limit": 128, "prompt": "trace"})

TRACE = Protocol(
    name="trace",
    source="TRACE (BeyonderXX/TRACE), scripts/train_lora.sh, given for order 1; batch 1 with 8 accumulation "
    "steps on 4 devices; rank, alpha and dropout from training/main.py's LoRA; the script does not state the "
    "targets (peft's for LLaMA) nor gradient clipping (none here); decoding here is greedy",
    backbone="llama-2-7b",
    epochs=5,
    epochs_by_task=dict(zip(ORDERS["1"], (5, 3, 7, 5, 3, 5, 5, 7), strict=True)),
    batch_size=32,
    rank=8,
    alpha=32,
    dropout=0.1,
    targets=("query", "value"),
    schedule="cosine",
    validation=0.0,
    source_length=1024,
    target_length=512,
    prompt="trace",
    decoding="greedy",
    normaliser="exact",
)

STREAM = Stream(
    name="trace",
    title="TRACE, 8 text-to-text tasks",
    kind="text-to-text",
    licence="Apache-2.0 for the packaging; FOMC: CC BY-NC 4.0; MeetingBank: a CC BY-NC variant; "
    "ScienceQA: CC BY-NC-SA 4.0; the others: see their authors",
    citation="Wang et al., TRACE: A Comprehensive Benchmark for Continual Learning in Large Language Models, "
    "2023",
    homepage="https://github.com/BeyonderXX/TRACE",
    orders=ORDERS,
    protocols=protocols(SMOKE, TRACE),
    load=lambda request: trace_rows.load(request, ORDERS[request.order]),
    sources=Sources(layouts=(trace_rows.OWN, trace_rows.PUBLISHED)),
)
