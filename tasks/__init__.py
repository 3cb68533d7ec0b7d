"""Task streams: one file per key."""
