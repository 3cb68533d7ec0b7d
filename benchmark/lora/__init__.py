"""Low-rank adaptation: adapted layers, the stack of a model's adapters, and the base of LoRA methods.

Read `layer` first: it holds the arithmetic, and the only product with alpha / r. `stack` adds, freezes,
merges, saves and restores one adapter a task over all layers, `targets` says which layers those are, `inputs`
what they see, and `method` is what a continual method with such a stack derives from.
"""
