"""Reads files of other programs as text or JSON; every failure is an ``InputError``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planner.files.errors import InputError
from planner.files.reading import decoded, read_bytes

MAX_BYTES = 256 * 1024**2


def read_text(path: Path) -> str:
    """The text of a file; ``InputError`` if it cannot be read, is above ``MAX_BYTES`` or is not UTF-8."""
    return decoded(read_bytes(path, MAX_BYTES), path)


def read_json(path: Path) -> Any:
    """The JSON document in a file; ``InputError`` with the line if it is none."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(path, error.lineno, None, f"is not valid JSON: {error.msg}") from None
    except RecursionError:
        raise InputError(path, None, None, "is not valid JSON: it nests too deep") from None
    except ValueError as error:  # a number of thousands of digits
        raise InputError(path, None, None, f"is not valid JSON: {error}") from None
