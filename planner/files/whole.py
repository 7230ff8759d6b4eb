"""Output files appear whole or not at all; an error is one line that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from planner.common import whole
from planner.files.errors import InputError


def ensure_writable(path: Path | str) -> None:
    """Raise ``InputError`` now, before any work, where ``write_whole`` could not write the file later."""
    with _one_line(path):
        whole.ensure_writable(path)


def write_whole(path: Path | str, content: str | bytes) -> None:
    """``planner.common.whole.write_whole``. Raises ``InputError`` where the file cannot be written."""
    with _one_line(path):
        whole.write_whole(path, content)


@contextmanager
def _one_line(path: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(path, None, None, f"cannot be written: {(error.strerror or str(error)).lower()}") from error
