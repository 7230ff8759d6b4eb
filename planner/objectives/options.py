"""What for and how hard to search; what is said where no plan was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SAME = 1 + 1e-9
"""Makespans, periods and peaks whose quotient is no larger are the same: what a plan prints can be asked for."""

FIRST_SHARE = 0.5
"""Of the time limit, what the search for the best makespan may take where something else is asked for it."""


class NoPlan(Exception):
    """A limit was reached before any plan was found; nothing is proven."""


@dataclass(frozen=True)
class SolveOptions:
    """What for and how hard to search.

    ``objective`` is a name of ``planner.objectives.registry``, which also says with which of them the limits
    ``max_makespan`` and ``max_period`` (seconds) go. ``baselines`` are the names to compare with; ``flags`` go into
    the plan's options.
    """

    flags: Mapping[str, Any]
    gap: float = 1e-6
    seed: int = 0
    threads: int = 2
    baselines: tuple[str, ...] = ()
    objective: str = "makespan"
    max_makespan: float | None = None
    max_period: float | None = None
