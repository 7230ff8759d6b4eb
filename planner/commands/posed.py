"""The problem that a plan solves, from the two files that it was made of."""

from __future__ import annotations

from pathlib import Path

from planner.commands.common import UsageFault
from planner.commands.plans import cap_option, whole_option
from planner.files.errors import InputError
from planner.plan.plan import Plan, PlannedTask, PlannedTransfer
from planner.problem import Problem


def posed_problem(path: Path, plan: Plan, graph: Path | None, cluster: Path | None) -> Problem | None:
    """The problem of the plan in the file ``path``; None where neither graph nor cluster is given.

    Raises ``InputError`` where the plan is no valid plan of them. Memory above the cap is let pass: a published
    schedule that does not fit can be looked at all the same.
    """
    if graph is None and cluster is None:
        return None
    if graph is None or cluster is None:
        raise UsageFault("--graph and --cluster go together: give both, or neither")
    from planner.files import read_cluster, read_graph
    from planner.plan.verify import verify_plan

    cap, allowed = cap_option(path, plan), max(plan.copies, whole_option(path, plan, "copies") or 1)
    problem = Problem(
        read_graph(graph),
        read_cluster(cluster),
        plan.microbatches,
        allowed,
        cap,
        chunks=whole_option(path, plan, "chunks"),
    )
    violations = verify_plan(
        plan,
        problem.graph,
        problem.cluster,
        copies=allowed,
        memory_cap=cap,
        microbatches=plan.microbatches,
    )
    violations = [violation for violation in violations if violation.rule != 5]
    if violations:
        more = f" (and {len(violations) - 1} more; planner verify lists them)" if len(violations) > 1 else ""
        raise InputError(path, None, None, f"is no valid plan of {graph} and {cluster}: {violations[0]}{more}")
    return problem


def sound_times(path: Path, plan: Plan) -> None:
    """Raise ``InputError`` where an instant of the plan is no instant, or something ends before it starts."""
    rows: dict[str, tuple[PlannedTask | PlannedTransfer, ...]] = {"tasks": plan.tasks, "transfers": plan.transfers}
    for what, listed in rows.items():
        for k, row in enumerate(listed):
            if not 0 <= row.start <= row.end:
                raise InputError(
                    path, None, f"{what}[{k}]", "ends before it starts, or starts before 0: see planner verify"
                )
