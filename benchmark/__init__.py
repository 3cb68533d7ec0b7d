"""Continual parameter-efficient fine-tuning, measured the same way for every method.

Here stand the contracts (`method`, `stream`, `protocol`, `registry`, `results`, `settings`), the bank of
adapters (`adapters`, `low_rank`), and what any room may need: random starts (`draws`), TOML files that users
write (`toml_file`, `toml_mistakes`) and mistakes told in one line (`errors`). The rooms follow the way of a
run, and import from those above them:

    scoring               from answers to task scores, to metrics, to intervals and comparisons
    data                  from sources to rows: files, folders and the hub, checked, cut into tasks, cached
    models, backbones     the frozen pretrained model, its head, and what is learned on it
    running, loggers      one cell from plan to result, and many side by side without losing any
    tuning                searches for hyper-parameters
    analysis              what finished runs can still tell: other conditions, redundancy, adapters removed
    publishing            from result files to leaderboards, ledger, reports, pictures and the site
    profiling             what a step, a cell and the suite cost
    pretraining           how the bundled weights were made
    commands, cli         the verbs of `bench`

Code in them asks the registries for methods, streams and backbones, and knows none by its name.
"""
