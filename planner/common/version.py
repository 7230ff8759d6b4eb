"""The version, which stands in every plan; ``pyproject.toml`` says the same."""

__version__ = "0.1.0"
