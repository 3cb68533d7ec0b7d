"""The verbs of `bench`: flags, what they print, and how their progress is shown."""
