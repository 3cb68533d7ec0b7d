"""SuperNI in SEEKR's form: 12 generation tasks in two orders, 11 of them SAPT's; scored by Rouge-L.

SEEKR (jinghan1he/SEEKR, EMNLP 2024) gives its rows on a drive and trains all weights for 10 epochs a task, so
there is no budget of adapters to take over. Rows here are SAPT's for its 11 tasks; task195 is not among
SAPT's files and comes from a data folder that has it, else from the hub.
"""

from __future__ import annotations

from benchmark.stream import Stream, protocols
from tasks import superni
from tasks.sources import natural_instructions
from tasks.sources.natural_instructions import full_names

ORDERS = {
    "1": full_names("1572 363 1290 181 002 1510 073 748 511 591 195 875"),
    "2": full_names("748 073 1572 195 591 363 1510 181 511 002 1290 875"),
}


STREAM = Stream(
    name="superni-12",
    title="SuperNI, 12 generation tasks of SEEKR",
    kind="text-to-text",
    licence=superni.STREAM.licence,
    citation="Wang et al., Super-NaturalInstructions, 2022; He et al., SEEKR: Selective Attention-Guided "
    "Knowledge Retention for Continual Learning of Large Language Models, 2024",
    homepage="https://github.com/jinghan1he/SEEKR",
    orders=ORDERS,
    protocols=protocols(superni.SMOKE),
    load=lambda request: natural_instructions.load(request, ORDERS[request.order]),
    sources=natural_instructions.SOURCES,
)
