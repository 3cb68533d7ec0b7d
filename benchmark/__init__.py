"""Continual parameter-efficient fine-tuning, measured the same way for every method.

What stands where, in the order in which it may be imported: a room imports from its own line and from lines
above it, and from none below. `tests/test_imports.py` holds every import to this.

    errors, printable, protocol, phase, state, space, registry, row_scores, results, stream, method  contracts
    settings, initialisation, text_table, guard, folders  what any room may need: random starts, files
    result_files                          where results lie
    scoring                               from answers to task scores, to metrics, to intervals
    data                                  from sources to rows: files, folders and the hub, checked, cached
    models                                the frozen pretrained model, its head, and what is learned on it
    backbones                             the pretrained models by name
    lora                                  low-rank adapters over the model's layers, and what they are fed
    running                               one run from plan to result, and many side by side without a loss
    loggers                               where scores are sent besides
    tuning                                searches for hyper-parameters
    analysis                              what finished runs still show: other conditions, redundancy
    publishing                            from result files to leaderboards, ledger, reports, and the site
    study                                 plans with outcomes fixed before the runs, and their pages
    profiling                             what a training step costs
    commands                              the verbs of `bench`
    cli, __main__                         `bench` itself
    api                                   the same from Python: what `import benchmark as bench` offers

`methods/` and `tasks/` import from all of these. Nothing here imports from them: methods, streams and
backbones are asked of the registries by name.

From Python, `run`, `load_results`, `register_method`, `register_stream`, `Results` and `UserError` are
attributes of this package. Each is imported when it is first asked for: `import benchmark` loads nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in `typing`, whose import alone would take longer than all that is here
if TYPE_CHECKING:
    from benchmark.api.registering import register_method, register_stream
    from benchmark.api.results import Results, load_results
    from benchmark.api.runs import run
    from benchmark.errors import UserError

__all__ = ["Results", "UserError", "load_results", "register_method", "register_stream", "run"]


_PLACES = {
    "Results": "api.results",
    "UserError": "errors",
    "load_results": "api.results",
    "register_method": "api.registering",
    "register_stream": "api.registering",
    "run": "api.runs",
}


def __getattr__(name: str) -> object:
    """Import what the package offers when it is asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    """Name what the package offers beside what is loaded."""
    return sorted({*globals(), *__all__})
