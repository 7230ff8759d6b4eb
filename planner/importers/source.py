"""Reads files of other programs as text or JSON; every failure is an ``InputError``."""

from __future__ import annotations

from pathlib import Path

from planner.files.json_source import JsonSource, read_json_source
from planner.files.reading import decoded, read_bytes

MAX_BYTES = 256 * 1024**2


def read_text(path: Path) -> str:
    """The text of a file; ``InputError`` if it cannot be read, is above ``MAX_BYTES`` or is not UTF-8."""
    return decoded(read_bytes(path, MAX_BYTES), path)


def read_json(path: Path) -> JsonSource:
    """The JSON document in a file; ``InputError`` with the line if it is none. Other programs write NaN, too."""
    return read_json_source(path, MAX_BYTES, strict=False)
