"""Where a sweep's events can go beside its own log: one file each, off unless asked for by name.

Not accelerate's trackers, although peft brings them: several runs are open at a time here, and its MLflow
tracker writes to whichever run is the current one; none of them reports that a run failed.
"""
