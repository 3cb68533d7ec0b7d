"""Searches for hyper-parameters: the space, the search, and what it chose."""
