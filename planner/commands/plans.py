"""``planner show``, ``compare`` and ``verify``: what is done with plans that exist."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from planner.commands.common import ExitCode, UsageFault, emit, not_an_input, note, quantity, report_style
from planner.commands.pictures import Pictures
from planner.commands.problem_of_plan import cap_option, label, presentable, whole_option
from planner.files.plan_file import read_plan
from planner.files.whole import ensure_writable, write_whole
from planner.plan.plan import Plan
from planner.problem.quantities import BYTES

VERIFICATION = "planner/verification@1"


def show_command(path: Path, as_json: bool, pictures: Pictures) -> int:
    """``planner show``."""
    from planner.report.text import report_text

    pictures.check(path)
    plan = presentable(path)
    pictures.draw(path, plan)
    if as_json:
        emit(path.read_text(encoding="utf-8"))  # the file itself, with keys that this version does not know
    else:
        emit(report_text(plan, *report_style()))
    return ExitCode.DONE


def compare_command(paths: Sequence[Path], force: bool, as_json: bool, svg: str | None) -> int:
    """``planner compare``."""
    from planner.report.compare import compare_document, compare_text, different_problems

    if len(paths) < 2:
        raise UsageFault("compare takes two plans or more (planner show takes one)")
    _check_svg(svg, paths)
    plans = [presentable(path) for path in paths]
    names = [str(path) for path in paths]
    different = different_problems(plans)
    if different and not force:
        raise UsageFault(f"the plans are of different problems ({'; '.join(different)}); --force compares them anyway")
    if svg is not None:
        _draw(plans, [label(path, plan) for path, plan in zip(paths, plans, strict=True)], svg)
    if as_json:
        emit(json.dumps(compare_document(plans, names), indent=1, allow_nan=False) + "\n")
    else:
        emit(compare_text(plans, names, *report_style()))
    return ExitCode.DONE


def verify_command(
    path: Path,
    graph_path: Path,
    cluster_path: Path,
    copies: int | None,
    memory_cap: str | None,
    microbatches: int | None,
    as_json: bool,
) -> int:
    """``planner verify``."""
    from planner.files import read_cluster, read_graph
    from planner.verify import verify_plan

    cap = None if memory_cap is None else quantity("--memory-cap", memory_cap, BYTES)
    plan = read_plan(path)
    graph, cluster = read_graph(graph_path), read_cluster(cluster_path)
    violations = verify_plan(
        plan,
        graph,
        cluster,
        copies=copies or whole_option(path, plan, "copies") or 1,
        memory_cap=cap_option(path, plan) if cap is None else cap,
        microbatches=microbatches or whole_option(path, plan, "microbatches") or graph.microbatches,
    )
    if as_json:
        document = {
            "schema": VERIFICATION,
            "plan": str(path),
            "valid": not violations,
            "violations": [{"rule": int(v.rule), "name": v.rule.title, "message": v.message} for v in violations],
        }
        emit(json.dumps(document, indent=1, allow_nan=False) + "\n")
    elif violations:
        count = f"{len(violations)} violation{'' if len(violations) == 1 else 's'}"
        emit("".join(f"{violation}\n" for violation in violations) + f"{path}: {count}\n")
    else:
        emit(
            f"OK: {path} is valid: {len(plan.tasks)} tasks, {len(plan.transfers)} transfers, "
            f"{len(plan.devices)} devices, makespan {plan.makespan:.12g} s\n"
        )
    return ExitCode.VIOLATIONS if violations else ExitCode.DONE


def _check_svg(svg: str | None, plans: Sequence[Path]) -> None:
    if svg is not None:
        not_an_input(svg, {f"plan {path}": path for path in plans}, "--svg")
        ensure_writable(svg)


def _draw(plans: Sequence[Plan], titles: Sequence[str] | None, svg: str) -> None:
    from planner.report.svg import gantt_svg

    write_whole(svg, gantt_svg(plans, titles))
    note(f"picture written to {svg}")
