"""What for and how hard to search; what is said where no plan was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.search.params import SearchParams

SAME = 1 + 1e-9
"""Makespans and periods closer than this are the same."""


class NoPlan(Exception):
    """A limit was reached before any plan was found; nothing is proven."""


@dataclass(frozen=True)
class SolveOptions:
    """What for and how hard to search.

    ``objective`` memory: the least peak over the devices for a makespan of at most ``max_makespan`` seconds, or for
    the best that is found. period: the least work of the busiest stream for a microbatch. utilization: the fewest
    devices for ``max_makespan`` or ``max_period`` (seconds). ``baselines`` are the names to compare with; ``flags``
    go into the plan's options.
    """

    flags: Mapping[str, Any]
    gap: float = 1e-6
    seed: int = 0
    threads: int = 2
    baselines: tuple[str, ...] = ()
    objective: str = "makespan"
    max_makespan: float | None = None
    max_period: float | None = None
    params: SearchParams = field(default_factory=SearchParams)
