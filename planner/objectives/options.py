"""Objective and limits of a search, and the error if no plan was found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from planner.common.threads import default_threads
from planner.common.tolerance import GAP
from planner.runtimes.names import ANY

if TYPE_CHECKING:
    from planner.objectives.start import Start
    from planner.problem import Problem
    from planner.search.params import SearchParams

FIRST_SHARE = 0.5
"""Share of the time limit for the best makespan, where another objective depends on it."""


class NoPlan(Exception):
    """A limit was reached before any plan was found; nothing is proven."""


@dataclass(frozen=True)
class SolveOptions:
    """Objective and limits of a search.

    ``objective`` is a name of ``planner.objectives.registry``, which also says which of them take the limits
    ``max_makespan`` and ``max_period`` (seconds). ``baselines`` are the names to compare with; ``flags`` go into
    the plan's options.
    """

    flags: Mapping[str, Any]
    gap: float = GAP
    seed: int = 0
    threads: int = field(default_factory=default_threads)
    baselines: tuple[str, ...] = ()
    objective: str = "makespan"
    max_makespan: float | None = None
    max_period: float | None = None
    params: SearchParams | None = None  # None: what planner solve runs with
    runtime: str = ANY  # a name of ``planner.runtimes.RUNTIMES``: plans that it can run
    start: Start | None = None  # a plan to begin with; with objective makespan, without a runtime

    @staticmethod
    def of(
        problem: Problem,
        *,
        time_limit: float,
        effort: int | None,
        gap: float,
        seed: int,
        threads: int | None,
        baselines: tuple[str, ...],
        objective: str,
        max_makespan: float | None = None,
        max_period: float | None = None,
        runtime: str = ANY,
    ) -> SolveOptions:
        """The options, with every flag that shapes the result; a ``time_limit`` of inf is none.

        Without ``threads`` as many as there are cores. Then the flags do not tell how many: the plan does not depend
        on them unless time cuts the search off, and it is to be the same file on every machine.
        """
        flags = {
            "objective": objective,
            "max_makespan": max_makespan,
            "max_period": max_period,
            "microbatches": problem.microbatches,
            "copies": problem.copies,
            "layout": problem.layout,
            "chunks": problem.chunks,
            **({} if runtime == ANY else {"runtime": runtime}),
            "memory_cap": problem.memory_cap,
            **({} if problem.variants is None else {"variants": list(problem.variants)}),
            "time_limit": None if math.isinf(time_limit) else time_limit,
            "effort": effort,
            "gap": gap,
            "seed": seed,
            "threads": threads,
            "baselines": list(baselines),
        }
        used = default_threads() if threads is None else threads
        return SolveOptions(flags, gap, seed, used, baselines, objective, max_makespan, max_period, runtime=runtime)
