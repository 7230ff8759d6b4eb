"""Output files are written whole or not at all. ``planner.files.whole`` reports an obstacle in one line."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from pathlib import Path

READER = 2.0
"""Seconds that a named pipe has to find a reader."""


def ensure_writable(path: Path | str) -> None:
    """Raise ``OSError`` now, before any work, where ``write_whole`` could not write the file later."""
    if _is_special(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return  # opening a pipe would wait for its reader
    target = _target(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a directory", str(path))
    name = _beside(target)
    try:
        os.close(_created(name))
    finally:  # whatever signal comes; a function of our own would give another one the time to come in between
        try:  # noqa: SIM105
            os.unlink(name)
        except FileNotFoundError:
            pass


def write_whole(path: Path | str, content: str | bytes) -> None:
    """Write a file at once, text as UTF-8: readers see the old content or the new, never a part of it.

    An existing file keeps its permissions, a link stays a link; a terminal, pipe or device such as
    ``/dev/stdout`` is written to as it is. Raises ``OSError`` where the file cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    if _is_special(path):
        _write_special(path, data)
        return
    target = _target(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a directory", str(path))
    _replace(target, data)


def _replace(target: Path, data: bytes) -> None:
    """Write beside the target, flush to disk, then rename."""
    mode = _mode(target)
    name = _beside(target)
    try:
        with os.fdopen(_created(name), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, mode)
        os.replace(name, target)
    except BaseException:  # a signal too must not leave the temporary file behind
        try:  # noqa: SIM105
            os.unlink(name)
        except FileNotFoundError:
            pass
        raise


def _beside(target: Path) -> str:
    """A name for a temporary file, known before the file is there: a signal may come right after its creation."""
    return str(target.parent / f".{target.name[:40]}.{secrets.token_hex(6)}")


def _created(name: str) -> int:
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _mode(target: Path) -> int:
    """The permissions of the file, or those that a new file gets (that of the temporary file are the owner's alone)."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _target(path: Path | str) -> Path:
    return Path(os.path.realpath(path))


def _is_special(path: Path | str) -> bool:
    """Whether the path is there, but as a device, pipe or socket.

    The path itself is asked, not its ``realpath``: ``/dev/stdout`` leads to a pipe that has no path.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _write_special(path: Path | str, data: bytes) -> None:
    """Write to a device or pipe. A named pipe gets ``READER`` seconds to find a reader."""
    until = time.monotonic() + READER
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > until:
                raise OSError(errno.ENXIO, "nobody reads from this pipe", str(path)) from error
            time.sleep(0.05)
    os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
