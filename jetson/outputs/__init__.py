"""What becomes of recognised gestures: lines, commands, messages, recordings, kept clips."""

from clipedge.jetson.outputs.output import Output, Outputs

__all__ = ["Output", "Outputs"]
