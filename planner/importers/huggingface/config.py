"""A Hugging Face ``config.json``: its fields, and errors that name file, line and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from planner.files.errors import shown
from planner.files.flag_values import UsageFault
from planner.files.json_source import JsonSource
from planner.files.shipped import model_file
from planner.importers.source import read_json

LARGEST = 10**9  # of any dimension; the largest vocabularies have some 10^6 entries
MOST_LAYERS = 10_000


class Unfit(UsageFault):
    """Flags that contradict each other or the model; the message says what to give instead."""


class HfConfig:
    """The fields of one object of the file. Every reader raises ``InputError`` if a field is missing or wrong."""

    def __init__(self, source: JsonSource, fields: dict[str, Any], steps: tuple[str, ...] = ()) -> None:
        self.source, self.fields, self.steps = source, fields, steps

    def fail(self, key: str, message: str) -> NoReturn:
        """Raise the error about a field, at its line."""
        raise self.source.error([*self.steps, key], message)

    def read_as(self, kind: str) -> HfConfig:
        """The same fields under another ``model_type``."""
        return HfConfig(self.source, {**self.fields, "model_type": kind}, self.steps)

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.fields.get(key) is not None

    def number(self, key: str, default: int | None = None, least: int = 1, most: int = LARGEST) -> int:
        """A whole number; without a default the field is required."""
        value = self.fields.get(key)
        if value is None:
            if default is None:
                self.fail(key, "is missing: it is needed to size the model")
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fail(key, f"must be a whole number from {least} to {most:,} (got {shown(value)})")
        return value

    def layers(self, key: str, default: int | None = None) -> int:
        """A number of layers."""
        return self.number(key, default, most=MOST_LAYERS)

    def optional(self, key: str, least: int = 1) -> int | None:
        """A whole number, or None if the field is missing or null."""
        return self.number(key, least=least) if self.has(key) else None

    def fraction(self, key: str, default: float) -> float:
        """A number above 0."""
        value = self.fields.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1000:
            self.fail(key, f"must be a number above 0 (got {shown(value)})")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self.fields.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fail(key, f"must be true or false (got {shown(value)})")
        return value

    def text_of(self, key: str, default: str) -> str:
        """A string."""
        value = self.fields.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.fail(key, f"must be text (got {shown(value)})")
        return value

    def numbers(self, key: str) -> list[int]:
        """A list of whole numbers; empty if the field is missing."""
        value = self.fields.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            self.fail(key, f"must be a list of whole numbers (got {shown(value)})")
        return value

    def words(self, key: str, length: int) -> list[str] | None:
        """A list of ``length`` strings, or None if the field is missing."""
        value = self.fields.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            self.fail(key, f"must be a list of texts (got {shown(value)})")
        if len(value) < length:
            self.fail(key, f"names {len(value)} layers of {length}")
        return value[:length]

    def part(self, key: str) -> HfConfig:
        """The object under a field."""
        value = self.fields.get(key)
        if not isinstance(value, dict):
            self.fail(key, "is missing" if value is None else f"must be an object (got {shown(value)})")
        return HfConfig(self.source, value, (*self.steps, key))


def read_config(path: Path) -> HfConfig:
    """Read the file, or that of a shipped model by its name. Raises ``InputError`` if it is no JSON object."""
    source = read_json(model_file(path))
    if not isinstance(source.root, dict):
        raise source.error([], "must be a JSON object, as the config.json of a Hugging Face model is")
    return HfConfig(source, source.root)
