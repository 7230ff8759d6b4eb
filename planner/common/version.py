"""The version, which stands in every plan; ``pyproject.toml`` says the same."""

__version__ = "0.1.0"

DISTRIBUTION = "parallelism-planner"
"""What pip calls it; the command and the package are ``planner``. On the package index that name is somebody else's."""


def extra_hint(extra: str) -> str:
    """How to add one of the extras: where the wheel is installed pip takes it from there, without the package index."""
    of_wheel = f"pip install '{DISTRIBUTION}[{extra}]' where its wheel is installed"
    return f"{of_wheel}, pip install -e '.[{extra}]' in a checkout"
