"""``planner export``: a plan as a file that another program reads. The formats are those of the registry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

from planner.commands import declared
from planner.commands import flags as options
from planner.commands.common import ExitCode, emit, not_an_input, note
from planner.commands.lazy import Command
from planner.commands.problem_of_plan import in_full, problem_of_plan, sound_times
from planner.exporters import CannotExport
from planner.exporters.registry import EXPORTERS
from planner.files.errors import listed, shown
from planner.files.flag_values import UsageFault
from planner.files.plan_file import read_plan
from planner.files.whole import ensure_writable, write_whole


def _formats() -> str:
    return f"{', '.join(EXPORTERS)}."


@dataclass(frozen=True)
class ExportFlags:
    """Options of ``planner export``; a format declares its own options."""

    plan: options.PlanFile
    to: Annotated[str, typer.Option("--to", metavar="FORMAT"), declared.Help(_formats)]
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.  [default: stdout]")
    ] = None
    graph: options.MaybePlanGraph = None
    cluster: options.MaybePlanCluster = None
    quiet: options.NoNotes = False


def command(name: str, help: str) -> Command:
    """The command, with the options of all formats."""
    return declared.command(name, help, run, ExportFlags, *(exporter.options for exporter in EXPORTERS.values()))


def run(flags: ExportFlags, *of_formats: Any) -> int:
    """Export to the file that ``-o`` names, or to stdout. ``of_formats``: the options of each format."""
    if flags.to not in EXPORTERS:
        raise UsageFault(f"--to {shown(flags.to)}: unknown format; known are {listed(EXPORTERS)}")
    exporter, path, output = EXPORTERS[flags.to], flags.plan, flags.output
    chosen = next(each for each in of_formats if isinstance(each, exporter.options))
    _check_options(flags.to, chosen, of_formats)
    inputs = {"plan": path, "graph": flags.graph, "cluster": flags.cluster}
    not_an_input(output, {what: file for what, file in inputs.items() if file is not None})
    to_file = output not in (None, "-")
    if to_file:
        ensure_writable(str(output))
    plan = read_plan(path)
    in_full(path, plan)
    sound_times(path, plan)
    problem = problem_of_plan(path, plan, flags.graph, flags.cluster)
    try:
        exported = exporter.export(plan, problem, chosen)
    except CannotExport as reason:
        raise UsageFault(f"{path} cannot be exported to {flags.to}: {reason}") from reason
    for remark in exported.notes:
        note(remark, flags.quiet)
    if not to_file:
        emit(exported.text)
        if exported.beside:
            note(f"with -o FILE there are also {listed('FILE' + end for end in exported.beside)}", flags.quiet)
        return ExitCode.DONE
    text_of_main = exported.text if exported.naming is None else exported.naming(str(output))
    for end, text in {"": text_of_main, **exported.beside}.items():
        write_whole(f"{output}{end}", text)
        note(f"written to {output}{end}", flags.quiet)
    return ExitCode.DONE


def _check_options(to: str, chosen: Any, of_formats: Iterable[Any]) -> None:
    """Refuse an option that the format does not take."""
    taken = {field.name for field in fields(chosen)}
    for each in of_formats:
        for field in fields(each):
            if field.name not in taken and getattr(each, field.name) != field.default:
                formats = [name for name, exporter in EXPORTERS.items() if _takes(exporter.options, field.name)]
                flag = declared.flag_of(field.name)
                raise UsageFault(f"{flag} goes with --to {' or '.join(formats)}, not with {to}")


def _takes(options: type, name: str) -> bool:
    return any(field.name == name for field in fields(options))
