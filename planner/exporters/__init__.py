"""Plans as files that other programs read: one module a format, listed in ``planner.exporters.registry``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import typer

from planner.plan.plan import Plan
from planner.problem import Problem

Repair = Annotated[bool, typer.Option("--repair", help="Change what the format cannot express; says the cost.")]
"""An option of several formats."""


class CannotExport(Exception):
    """The format cannot express the plan; the message says why, and what to do instead."""


@dataclass(frozen=True)
class Exported:
    """An export: the main file, more files beside it, remarks for people.

    ``beside`` maps an ending of the main file's name to the content of another file: with
    ``{".partition.json": ...}`` and ``-o order.csv`` there is a second file ``order.csv.partition.json``. Without
    ``-o`` only ``text`` is printed. ``naming`` makes the main text where that names a file beside it, from the path
    that ``-o`` gives; ``text`` is then the text for stdout.
    """

    text: str
    beside: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    naming: Callable[[str], str] | None = None


@dataclass(frozen=True)
class NoOptions:
    """The options of a format that has none of its own."""


class Exporter(Protocol):
    """A format of ``planner export --to NAME``."""

    @property
    def name(self) -> str:
        """What ``--to`` takes."""

    @property
    def help(self) -> str:
        """The format in one line."""

    @property
    def options(self) -> type[Any]:
        """A dataclass of the options of ``planner export`` that this format takes, each with a default.

        A field is ``Annotated[type, typer.Option(...)]``. Formats may share an option: then each has the field.
        """

    def export(self, plan: Plan, problem: Problem | None, options: Any) -> Exported:
        """The plan in this format; raises ``CannotExport`` where the format cannot express it.

        ``problem``: that of the plan's graph and cluster, of which the plan is a valid one; None where they are not
        given. ``options``: an instance of the dataclass.
        """
