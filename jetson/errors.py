"""The errors a user can put right: what, got, expected, next step, in one or two lines."""


class ClipedgeError(Exception):
    """Base of every error whose message is written for the user; commands exit with status 1."""


class UsageError(ClipedgeError):
    """The call itself was wrong (an unknown name, a missing file); commands exit with status 2."""


class SpecError(ClipedgeError):
    """A ClipSpec is missing, damaged or contradicts itself."""


class ModelFileError(ClipedgeError):
    """A model file cannot be opened: truncated, not a model, or without its ClipSpec."""


class BackendError(ClipedgeError):
    """No backend that can run this file is installed, or the one asked for is not."""


class ClipError(ClipedgeError, ValueError):
    """A clip or frame has another shape, dtype or range than the ClipSpec says."""


class SourceError(ClipedgeError):
    """A camera, video or folder of frames cannot be opened or decoded."""
