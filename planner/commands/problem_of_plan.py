"""Plans as files: the options they were made with, and the problem that they solve, from its two files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planner.files.errors import InputError, shown
from planner.files.flag_values import UsageFault
from planner.files.plan_file import PlanFile, plan_error, read_plan_file
from planner.plan.plan import Plan, PlannedExchange, PlannedStepTask, PlannedTask, PlannedTransfer
from planner.problem import Problem
from planner.problem.quantities import BYTES, LARGEST, QuantityError, parse_quantity


def problem_of_plan(path: Path, plan: Plan, graph: Path | None, cluster: Path | None) -> Problem | None:
    """The problem of the plan in the file ``path``; None where neither graph nor cluster is given.

    Raises ``InputError`` where the plan is no valid plan of them. Memory above the cap is allowed, so that a baseline
    that does not fit can be shown.
    """
    if graph is None and cluster is None:
        return None
    if graph is None or cluster is None:
        missing = "--graph GRAPH" if graph is None else "--cluster CLUSTER"
        raise UsageFault(f"{missing} is missing: --graph and --cluster go together, give both or neither")
    from planner.files import read_cluster, read_graph
    from planner.verification import Rule, verify_plan

    cap, allowed = cap_option(path, plan), max(plan.copies, whole_option(path, plan, "copies") or 1)
    problem = Problem(
        read_graph(graph),
        read_cluster(cluster),
        plan.microbatches,
        allowed,
        cap,
        chunks=whole_option(path, plan, "chunks"),
        variants=variants_option(path, plan),
    )
    violations = verify_plan(
        plan,
        problem.graph,
        problem.cluster,
        copies=allowed,
        memory_cap=cap,
        microbatches=plan.microbatches,
        variants=problem.variants,
    )
    violations = [violation for violation in violations if violation.rule is not Rule.MEMORY]
    if violations:
        more = f" (and {len(violations) - 1} more; planner verify lists them)" if len(violations) > 1 else ""
        raise InputError(path, None, None, f"is no valid plan of {graph} and {cluster}: {violations[0]}{more}")
    return problem


def sound_times(path: Path, plan: Plan) -> None:
    """Raise ``InputError`` where a task or transfer starts before 0, ends before it starts, or ends absurdly late."""
    if plan.makespan > LARGEST:
        raise plan_error(path, ["makespan"], f"is absurd: at most {LARGEST:g} s (got {plan.makespan:g})")
    rows: dict[str, tuple[PlannedTask | PlannedTransfer | PlannedStepTask | PlannedExchange, ...]] = {
        "tasks": (*plan.tasks, *plan.step_tasks),
        "transfers": (*plan.transfers, *plan.exchanges),
    }
    for what, listed in rows.items():
        for k, row in enumerate(listed):
            if row.end > LARGEST:
                raise plan_error(path, [what, k, "end"], f"is absurd: at most {LARGEST:g} s (got {row.end:g})")
            if not 0 <= row.start <= row.end:
                raise plan_error(path, [what, k], "ends before it starts, or starts before 0: see planner verify")


def in_full(path: Path, plan: Plan) -> None:
    """Raise ``UsageFault`` where the plan does not list all of its tasks."""
    from planner.report.excerpt import not_in_full

    reason = not_in_full(plan, str(path))
    if reason is not None:
        raise UsageFault(f"{path}: {reason}")


def presentable(path: Path) -> Plan:
    """The plan in a file, if a report can be made of it."""
    return presentable_file(path).plan


def presentable_file(path: Path) -> PlanFile:
    """The same with the text of the file."""
    read = read_plan_file(path)
    plan = read.plan
    if not plan.devices:
        raise plan_error(path, ["devices"], "lists no device: planner verify says what is wrong with the plan")
    if plan.makespan < 0:
        raise plan_error(path, ["makespan"], "is negative: planner verify says what is wrong with the plan")
    return read


def whole_option(path: Path, plan: Plan, name: str) -> int | None:
    """An option of the plan that is a whole number from 1 on; None where the plan has none."""
    value: Any = plan.options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise plan_error(path, ["options", name], f"must be a whole number from 1 on, found {shown(value)}")
    return value


def variants_option(path: Path, plan: Plan) -> tuple[str, ...] | None:
    """The names of the variants that the options of the plan allow; None: all of them."""
    value: Any = plan.options.get("variants")
    if value is None:
        return None
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        what = f"must be all, or names of variants such as base or base,recompute, found {shown(value)}"
        raise plan_error(path, ["options", "variants"], what)
    return None if names == ["all"] else tuple(dict.fromkeys(name.strip() for name in names))


def cap_option(path: Path, plan: Plan) -> float | None:
    """The memory cap among the options of the plan, in bytes; None where it has none."""
    value: Any = plan.options.get("memory_cap")
    try:
        return None if value is None else parse_quantity(value, BYTES)
    except QuantityError as error:
        raise plan_error(path, ["options", "memory_cap"], str(error)) from error


def label(path: Path, plan: Plan) -> str:
    """The name of a baseline; for any other plan the name of its file."""
    return plan.origin.removeprefix("baseline:") if plan.origin.startswith("baseline:") else stem(path)


def stem(path: Path) -> str:
    """The name of a file without ``.json`` or ``.json.gz``."""
    return path.with_suffix("").stem if path.suffix.lower() == ".gz" else path.stem
