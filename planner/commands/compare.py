"""``planner compare``: plans of one problem side by side, or of one model and batch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from planner.commands import flags as options
from planner.commands.common import ExitCode, emit, not_an_input, note, report_style
from planner.commands.problem_of_plan import label, presentable
from planner.files.flag_values import UsageFault, ratio
from planner.files.whole import ensure_writable, write_whole
from planner.plan.plan import Plan, Source


class TableFormat(StrEnum):
    """Values of ``--format``."""

    text = "text"
    json = "json"
    markdown = "markdown"


@dataclass(frozen=True)
class CompareFlags:
    """Options of ``planner compare``."""

    plans: Annotated[list[Path], typer.Argument(metavar="PLAN PLAN...", help="Two plans or more.")]
    force: Annotated[bool, typer.Option("--force", "--any", help="Compare plans of different problems too.")] = False
    fail_if_slower: Annotated[
        str | None,
        typer.Option(metavar="R", help="Exit code 5 if a plan is slower than the first by more, such as 2%."),
    ] = None
    graph: Annotated[
        Path | None, typer.Option(metavar="GRAPH", help="Say which plans were made from another graph than this.")
    ] = None
    cluster: Annotated[
        Path | None, typer.Option(metavar="CLUSTER", help="Say which plans were made from another cluster than this.")
    ] = None
    svg: options.Picture = None
    format: Annotated[
        TableFormat,
        typer.Option(
            "--format", help="json prints one JSON document and nothing else, markdown a table for a pull request."
        ),
    ] = TableFormat.text


def run(flags: CompareFlags) -> int:
    """Compare the plans, as a table or as JSON, with a picture where asked for.

    Exit code 5 where ``--fail-if-slower`` says so. Raises ``UsageFault`` for plans that cannot be compared.
    """
    from planner.report.compare import compare_document, compare_text, different_problems
    from planner.report.strategies import different_steps
    from planner.report.verdict import verdict

    paths, svg = flags.plans, flags.svg
    if len(paths) < 2:
        raise UsageFault("compare takes two plans or more (planner show takes one)")
    allowed = None if flags.fail_if_slower is None else ratio("--fail-if-slower", flags.fail_if_slower)
    _check_svg(svg, _inputs(flags))
    plans = [presentable(path) for path in paths]
    names = [str(path) for path in paths]
    different = different_problems(plans)
    unlike = different_steps(plans) if different and not flags.force else []
    if unlike:
        raise UsageFault(
            f"the plans are of different problems ({'; '.join(different)}), and not of one model and batch "
            f"({'; '.join(unlike)}); --force compares them anyway"
        )
    held = verdict(plans, names, different, allowed, *_sources(flags))
    if svg is not None:
        _draw(plans, [label(path, plan) for path, plan in zip(paths, plans, strict=True)], svg)
    if flags.format is TableFormat.json:
        emit(json.dumps(compare_document(plans, names, held), indent=1, allow_nan=False) + "\n")
    elif flags.format is TableFormat.markdown:
        from planner.report.compare_markdown import compare_markdown

        emit(compare_markdown(plans, names, held))
    else:
        emit(compare_text(plans, names, *report_style(), held))
    for line in held.complaints():
        note(line)
    return ExitCode.THRESHOLD if held.too_slow else ExitCode.DONE


def _inputs(flags: CompareFlags) -> dict[str, object]:
    """The files that are read, by what they are."""
    given = {f"plan {path}": path for path in flags.plans} | {"graph": flags.graph, "cluster": flags.cluster}
    return {what: path for what, path in given.items() if path is not None}


def _sources(flags: CompareFlags) -> tuple[tuple[str, Source] | None, tuple[str, Source] | None]:
    """Graph and cluster that the plans are held against, with their files. Raises ``InputError`` for bad files."""
    from planner.files import read_cluster, read_graph

    graph = cluster = None
    if flags.graph is not None:
        read = read_graph(flags.graph)
        graph = str(flags.graph), Source(read.name, read.sha256)
    if flags.cluster is not None:
        found = read_cluster(flags.cluster)
        cluster = str(flags.cluster), Source(found.name, found.sha256)
    return graph, cluster


def _check_svg(svg: str | None, inputs: Mapping[str, object]) -> None:
    if svg is not None:
        not_an_input(svg, inputs, "--svg")
        ensure_writable(svg)


def _draw(plans: Sequence[Plan], titles: Sequence[str] | None, svg: str) -> None:
    from planner.report.svg import gantt_svg

    write_whole(svg, gantt_svg(plans, titles))
    note(f"picture written to {svg}")
