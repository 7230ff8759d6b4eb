"""The version, which stands in every plan; ``pyproject.toml`` says the same."""

__version__ = "0.1.0"

DISTRIBUTION = "parallelism-planner"
"""What pip calls it; the command and the package are ``planner``. On the package index that name is somebody else's."""


def extra_hint(extra: str) -> str:
    """How to install one of the extras, from the wheel or from a checkout."""
    return f"pip install '{DISTRIBUTION}[{extra}]', or pip install -e '.[{extra}]' in a checkout"
