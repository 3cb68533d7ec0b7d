"""Studies: a plan of runs with outcomes fixed before they run, and a page made from their results alone."""
