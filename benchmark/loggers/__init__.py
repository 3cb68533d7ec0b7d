"""Where a sweep's events can go beside its own log: one file each, off unless asked for by name."""
