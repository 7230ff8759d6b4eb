"""Output files appear whole or not at all; an error is one line that names the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there. Raises ``InputError`` where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(path, None, None, f"cannot be made a folder: {reason.lower()}") from None


def write_all(files: Mapping[Path, str | bytes]) -> None:
    """Write all of the files; where one cannot be written, all are as they were. Raises ``InputError`` then."""
    for path in files:
        ensure_writable(path)
    before: dict[Path, bytes | None] = {}
    try:
        for path, content in files.items():
            before[path] = path.read_bytes() if path.is_file() else None
            write_whole(path, content)
    except BaseException:  # a signal too
        for path, old in before.items():
            if old is None:
                path.unlink(missing_ok=True)
            else:
                write_whole(path, old)
        raise


@contextmanager
def _one_line(path: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(path, None, None, f"cannot be written: {(error.strerror or str(error)).lower()}") from error
