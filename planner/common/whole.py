"""Output files are written whole or not at all. ``planner.files.whole`` reports an obstacle in one line."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path


def ensure_writable(path: Path | str) -> None:
    """Raise ``OSError`` now, before any work, where ``write_whole`` could not write the file later."""
    target = _target(path)
    if _is_special(target):
        with target.open("ab"):
            return
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a directory", str(path))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:64]}.")
    os.close(handle)
    os.unlink(name)


def write_whole(path: Path | str, content: str | bytes) -> None:
    """Write a file at once, text as UTF-8: readers see the old content or the new, never a part of it.

    An existing file keeps its permissions, a link stays a link; a terminal, pipe or device such as
    ``/dev/stdout`` is written to as it is. Raises ``OSError`` where the file cannot be written.
    """
    target = _target(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    if _is_special(target):
        with target.open("wb") as stream:
            stream.write(data)
    elif target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a directory", str(path))
    else:
        _replace(target, data)


def _replace(target: Path, data: bytes) -> None:
    """Write beside the target, flush to disk, then rename."""
    mode = _mode(target)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:64]}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, mode)
        os.replace(name, target)
    except BaseException:  # a signal too must not leave the temporary file behind
        Path(name).unlink(missing_ok=True)
        raise


def _mode(target: Path) -> int:
    """The permissions of the file, or those that a new file gets (mkstemp's would be the owner's alone)."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _target(path: Path | str) -> Path:
    return Path(os.path.realpath(path))


def _is_special(target: Path) -> bool:
    """Whether the path is there, but as a device, pipe or socket."""
    return target.exists() and not target.is_file() and not target.is_dir()
