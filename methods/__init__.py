"""Continual methods: one file per key."""
