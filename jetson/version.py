"""The version of the installed clipedge."""


def own_version() -> str:
    """Return the distribution's version, or ``unknown`` where it runs uninstalled."""
    try:
        from importlib import metadata  # novm: Python >= 3.8
    except ImportError:
        return _own_version_36()
    try:
        return metadata.version("clipedge")
    except metadata.PackageNotFoundError:
        return "unknown"


def _own_version_36() -> str:
    import pkg_resources

    try:
        return str(pkg_resources.get_distribution("clipedge").version)
    except pkg_resources.DistributionNotFound:
        return "unknown"
