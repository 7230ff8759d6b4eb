"""``planner compare``: plans of one problem side by side, or of one model and batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from planner.commands import flags as options
from planner.commands.common import ExitCode, emit, not_an_input, note, report_style
from planner.commands.problem_of_plan import label, presentable
from planner.files.flag_values import UsageFault
from planner.files.whole import ensure_writable, write_whole
from planner.plan.plan import Plan


@dataclass(frozen=True)
class CompareFlags:
    """Options of ``planner compare``."""

    plans: Annotated[list[Path], typer.Argument(metavar="PLAN PLAN...", help="Two plans or more.")]
    force: Annotated[bool, typer.Option("--force", "--any", help="Compare plans of different problems too.")] = False
    svg: options.Picture = None
    format: options.OutputFormat = options.Format.text


def run(flags: CompareFlags) -> int:
    """Compare the plans, as a table or as JSON, with a picture where asked for."""
    from planner.report.compare import compare_document, compare_text, different_problems
    from planner.report.strategies import different_steps

    paths, svg = flags.plans, flags.svg
    if len(paths) < 2:
        raise UsageFault("compare takes two plans or more (planner show takes one)")
    _check_svg(svg, paths)
    plans = [presentable(path) for path in paths]
    names = [str(path) for path in paths]
    different = different_problems(plans)
    unlike = different_steps(plans) if different and not flags.force else []
    if unlike:
        raise UsageFault(
            f"the plans are of different problems ({'; '.join(different)}), and not of one model and batch "
            f"({'; '.join(unlike)}); --force compares them anyway"
        )
    if svg is not None:
        _draw(plans, [label(path, plan) for path, plan in zip(paths, plans, strict=True)], svg)
    if flags.format is options.Format.json:
        emit(json.dumps(compare_document(plans, names), indent=1, allow_nan=False) + "\n")
    else:
        emit(compare_text(plans, names, *report_style()))
    return ExitCode.DONE


def _check_svg(svg: str | None, plans: Sequence[Path]) -> None:
    if svg is not None:
        not_an_input(svg, {f"plan {path}": path for path in plans}, "--svg")
        ensure_writable(svg)


def _draw(plans: Sequence[Plan], titles: Sequence[str] | None, svg: str) -> None:
    from planner.report.svg import gantt_svg

    write_whole(svg, gantt_svg(plans, titles))
    note(f"picture written to {svg}")
