"""The bytes and the text of a file that a user has named, with the one error that a bad file causes."""

from __future__ import annotations

import sys
from pathlib import Path

from planner.common import packed
from planner.files.errors import InputError


def read_bytes(path: Path, most: int, remedy: str | None = None) -> bytes:
    """The content of a file of at most ``most`` bytes; ``remedy`` says what to do about a larger one. ``-``: stdin.

    Raises ``InputError`` where it cannot be read or is larger.
    """
    if str(path) == "-":
        if sys.stdin is None:  # as `<&-` leaves it
            raise InputError(path, None, None, "cannot be read: stdin is closed")
        return _limited(sys.stdin.buffer.read(most + 1), path, most, remedy)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise InputError(path, None, None, "no such file: check the path") from None
    except IsADirectoryError:
        raise InputError(path, None, None, "is a directory: name a file in it") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(path, None, None, f"cannot be read: {reason}") from None
    return _limited(content, path, most, remedy)


def _limited(content: bytes, path: Path, most: int, remedy: str | None) -> bytes:
    if len(content) > most:
        message = f"is larger than {most // 1024**2} MiB"
        raise InputError(path, None, None, message if remedy is None else f"{message}: {remedy}")
    return content


def unpacked(content: bytes, path: Path, most: int) -> bytes:
    """The content of a file without gzip, if it has any; at most ``most`` bytes, however small the file is.

    Raises ``InputError`` where there is more, or where the file cannot be unpacked.
    """
    try:
        return _limited(packed.unpacked(content, most), path, most, "unpack it and see what it holds")
    except packed.Torn as error:
        message = f"is no whole gzip file ({error}): copy or write it again"
        raise InputError(path, None, None, message) from None


def decoded(content: bytes, path: Path) -> str:
    """The text of a file's content, with or without a byte order mark; ``InputError`` with the line if not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        message = f"is not UTF-8 (byte 0x{content[error.start]:02x}): save the file as UTF-8"
        raise InputError(path, line, None, message) from None


def present(path: Path, what: str) -> None:
    """Raise ``InputError`` if a file that a library is about to open is missing; ``what`` describes the file."""
    if path.is_dir():
        raise InputError(path, None, None, f"is a directory: give {what}")
    if not path.is_file():
        raise InputError(path, None, None, f"no such file: give {what}")
