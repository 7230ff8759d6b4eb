"""planner: operator-level plans for distributed deep learning, with a proven bound.

    import planner

    problem = planner.read_problem("graph.yaml", "cluster.yaml", copies=2)
    plan = planner.solve(problem, time_limit=30)
    print(plan.makespan, plan.lower_bound, planner.baseline("1f1b", problem).makespan)
    assert not planner.verify(plan, problem)
    plan.write("plan.json")

``planner.api`` documents the functions; they load at their first use. Next come ``planner/problem/`` (what is
planned), ``planner/search/`` (how), ``planner/plan/`` (what comes out) and ``planner/verification/`` (what checks it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.common.version import __version__

if TYPE_CHECKING:
    from planner.api import (
        CannotExport,
        Exported,
        Impossible,
        InputError,
        NoPlan,
        NotApplicable,
        Plan,
        Prediction,
        Problem,
        ProblemError,
        Rule,
        Violation,
        baseline,
        export,
        inference_strategy,
        predict,
        read_plan,
        read_problem,
        solve,
        strategy,
        sweep,
        verify,
    )

__all__ = [
    "CannotExport",
    "Exported",
    "Impossible",
    "InputError",
    "NoPlan",
    "NotApplicable",
    "Plan",
    "Prediction",
    "Problem",
    "ProblemError",
    "Rule",
    "Violation",
    "__version__",
    "baseline",
    "export",
    "inference_strategy",
    "predict",
    "read_plan",
    "read_problem",
    "solve",
    "strategy",
    "sweep",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Functions and classes of ``planner.api``, at their first use."""
    if name not in __all__:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    from planner import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
