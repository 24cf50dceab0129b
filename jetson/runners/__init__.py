"""Runners: one way to run a model file, whatever executes it."""
