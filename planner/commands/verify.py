"""``planner verify``: a plan checked against every rule, independently of the solver."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from planner.commands import flags as options
from planner.commands.common import ExitCode, emit
from planner.commands.problem_of_plan import cap_option, variants_option, whole_option
from planner.common.messages import brief
from planner.files.plan_file import read_plan
from planner.plan.plan import Plan

VERIFICATION = "planner/verification@1"


@dataclass(frozen=True)
class VerifyFlags:
    """Options of ``planner verify``."""

    plan: options.PlanFile
    graph: options.PlanGraph
    cluster: options.PlanCluster
    copies: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Copies allowed.  [default: the plan's option]")
    ] = None
    memory_cap: options.MemoryCap = None
    microbatches: options.Microbatches = None
    variants: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Variants allowed: all, base or NAME[,NAME].  [default: the plan's option]"),
    ] = None
    format: options.OutputFormat = options.Format.text


def run(flags: VerifyFlags) -> int:
    """List the violations; exit code 0 if there are none."""
    from planner.files import read_cluster, read_graph
    from planner.problem.names import reject_unknown_variants
    from planner.verification import verify_plan

    cap = None if flags.memory_cap is None else options.memory_size("--memory-cap", flags.memory_cap)
    path = flags.plan
    plan = read_plan(path)
    graph, cluster = read_graph(flags.graph), read_cluster(flags.cluster)
    variants = (
        variants_option(path, plan) if flags.variants is None else options.variant_names("--variants", flags.variants)
    )
    if flags.variants is not None:
        reject_unknown_variants(graph, variants)
    violations = verify_plan(
        plan,
        graph,
        cluster,
        copies=flags.copies or whole_option(path, plan, "copies") or 1,
        memory_cap=cap_option(path, plan) if cap is None else cap,
        microbatches=flags.microbatches or whole_option(path, plan, "microbatches") or graph.microbatches,
        variants=variants,
    )
    if flags.format is options.Format.json:
        document = {
            "schema": VERIFICATION,
            "plan": str(path),
            "valid": not violations,
            "violations": [
                {"rule": int(v.rule), "name": v.rule.title, "message": brief(v.message)} for v in violations
            ],
        }
        emit(json.dumps(document, indent=1, allow_nan=False) + "\n")
    elif violations:
        count = f"{len(violations)} violation{'' if len(violations) == 1 else 's'}"
        emit("".join(f"{violation}\n" for violation in violations) + f"{path}: {count}\n")
    else:
        emit(
            f"OK: {path} is valid: {len(plan.tasks) + len(plan.step_tasks)} tasks, "
            f"{len(plan.transfers) + len(plan.exchanges)} transfers, "
            f"{len(plan.devices)} devices, makespan {plan.makespan:.12g} s{_repeated(plan)}\n"
        )
    return ExitCode.VIOLATIONS if violations else ExitCode.DONE


def _repeated(plan: Plan) -> str:
    if plan.repeated is None:
        return ""
    return f" (for {plan.microbatches} microbatches; a part of the list is run {plan.repeated.times} times more)"
