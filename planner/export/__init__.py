"""Plans as files that other programs read. One module a format; ``planner.commands.export`` lists them by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class CannotExport(Exception):
    """The format cannot express the plan; the message says what of it and what to do instead."""


@dataclass(frozen=True)
class ExportOptions:
    """Flags of ``planner export``, as they were given."""

    path: Path  # of the plan, for messages
    graph: Path | None = None
    cluster: Path | None = None
    repair: bool = False  # change the plan where the format cannot express it, and say what that costs
    layers: str | None = None  # which operators are which layers, for formats that know layers


@dataclass(frozen=True)
class Exported:
    """What an export gives: the main file, more files beside it, remarks for people.

    ``beside`` maps what is put after the name of the main file to a content: with ``{".partition.json": ...}`` and
    ``-o order.csv`` there is a second file ``order.csv.partition.json``. Without ``-o`` only ``text`` is printed.
    """

    text: str
    beside: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
