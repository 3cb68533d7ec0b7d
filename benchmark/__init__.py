"""Continual parameter-efficient fine-tuning, measured the same way for every method."""
