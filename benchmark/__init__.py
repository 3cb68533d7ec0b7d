"""Continual parameter-efficient fine-tuning, measured the same way for every method.

What stands where, in the order in which it may be imported: a room imports from its own line and from lines
above it, and from none below. `tests/test_imports.py` holds every import to this.

    errors, printable, protocol, phase, state, space, registry, row_scores, results, stream, method  contracts
    settings, initialisation, text_table, guard, result_files  what any room may need: random starts, files
    scoring                               from answers to task scores, to metrics, to intervals
    data                                  from sources to rows: files, folders and the hub, checked, cached
    models                                the frozen pretrained model, its head, and what is learned on it
    backbones                             the pretrained models by name
    lora                                  low-rank adapters over the model's layers, and what they are fed
    running                               one run from plan to result, and many side by side without a loss
    loggers                               where scores are sent besides
    tuning                                searches for hyper-parameters
    analysis                              what finished runs can still tell: other conditions, redundancy
    publishing                            from result files to leaderboards, ledger, reports, and the site
    profiling                             what a step, a run and the suite cost
    pretraining                           how the bundled weights were made
    commands                              the verbs of `bench`
    cli, __main__                         `bench` itself

`methods/` and `tasks/` import from all of these. Nothing here imports from them: methods, streams and
backbones are asked of the registries by name.
"""
