"""Files of other programs as text or JSON, with the one error that a bad file causes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planner.files.errors import InputError

MAX_BYTES = 256 * 1024**2


def read_text(path: Path) -> str:
    """The text of a file; ``InputError`` where it cannot be read, is huge or is not UTF-8."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(path, None, None, "no such file: check the path") from None
    except IsADirectoryError:
        raise InputError(path, None, None, "is a directory: name a file in it") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(path, None, None, f"cannot be read: {reason}") from None
    if len(content) > MAX_BYTES:
        raise InputError(path, None, None, f"is larger than {MAX_BYTES // 1024**2} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise InputError(path, line, None, f"is not UTF-8 (byte 0x{content[error.start]:02x})") from None


def read_json(path: Path) -> Any:
    """The JSON document in a file; ``InputError`` with the line where it is none."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(path, error.lineno, None, f"is not valid JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
        raise InputError(path, None, None, f"is not valid JSON: {error}") from None
