"""Runners: one way to run a model file, whatever executes it."""

from clipedge.jetson.runners.base import Runner
from clipedge.jetson.runners.opening import BACKENDS, PRECISIONS, open_runner

__all__ = ["BACKENDS", "PRECISIONS", "Runner", "open_runner"]
