"""Results in a directory: one JSON file each, named by a hash of what it depends on, written whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from planner.common.version import __version__
from planner.engine.work import Work
from planner.files.errors import InputError
from planner.files.whole import ensure_writable, make_folder, write_whole

SCHEMA = "planner/result@1"


@cache
def program_version() -> str:
    """The version with a digest of the program's source: a checkout changes without a new version."""
    found = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{__version__}+{found.hexdigest()[:12]}"


def digest(key: Mapping[str, object]) -> str:
    """The name of a result: a SHA-256 of its key and the program's version. Raises ``TypeError`` if it is no JSON."""
    text = json.dumps({"version": program_version(), "key": key}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


class Store:
    """A directory of results. What cannot be read, or belongs to another key or version, is done again."""

    def __init__(self, folder: Path | str) -> None:
        """Raises ``InputError`` where the folder cannot be made or written to."""
        self.folder = Path(folder)
        make_folder(self.folder)
        ensure_writable(self.folder / "probe.json")

    def path(self, work: Work) -> Path:
        """The file of a result."""
        return self.folder / f"{digest(work.key)}.json"

    def read(self, work: Work) -> dict[str, Any] | None:
        """What ``write`` wrote; None where there is nothing that can be read."""
        try:
            found = json.loads(self.path(work).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        fits = isinstance(found, dict) and found.get("schema") == SCHEMA and found.get("version") == program_version()
        if not fits or found.get("key") != json.loads(json.dumps(work.key)):
            return None
        ended = found.get("ended")
        return ended if _is_sound(ended) else None

    def write(self, work: Work, ended: Mapping[str, Any]) -> None:
        """Keep what came of a piece of work. Raises ``InputError`` where it cannot be written."""
        document = {"schema": SCHEMA, "version": program_version(), "key": work.key, "ended": ended}
        try:
            text = json.dumps(document, allow_nan=False)
        except ValueError as error:
            raise InputError(self.path(work), None, None, f"cannot be written: {error}") from error
        write_whole(self.path(work), text + "\n")


def _is_sound(ended: Any) -> bool:
    """Whether a file has what the engine reads, of the right kinds."""
    return (
        isinstance(ended, dict)
        and isinstance(ended.get("reason"), str)
        and type(ended.get("code")) is int
        and type(ended.get("seconds")) in (int, float)
        and (isinstance(ended.get("result"), dict) or (ended.get("result") is None and bool(ended["reason"])))
    )
