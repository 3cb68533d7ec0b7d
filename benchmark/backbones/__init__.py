"""Backbone presets: one file per key."""
