"""What the scripts of cases share: which cases are meant, and the rows so far."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol, TypeVar


class Named(Protocol):
    """A case: its name, and the config that it plans."""

    @property
    def name(self) -> str:
        """On the page, and of ``--only``."""

    @property
    def config(self) -> str:
        """The folder in configs/."""


NamedT = TypeVar("NamedT", bound=Named)


def chosen(cases: Sequence[NamedT], patterns: list[str] | None) -> list[NamedT]:
    """The cases whose name or config matches; without patterns all."""
    found = [c for c in cases if not patterns or any(fnmatch(n, p) for p in patterns for n in (c.name, c.config))]
    if not found:
        raise SystemExit(f"no case matches {' '.join(patterns or [])}; --list shows them")
    return found


def read(path: Path) -> dict[str, Any]:
    """Rows so far."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rows": {}}
