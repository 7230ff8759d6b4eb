"""``planner export``: a plan as a file that another program reads."""

from __future__ import annotations

from collections.abc import Callable

from planner.commands.common import ExitCode, UsageFault, emit, not_an_input, note
from planner.export import CannotExport, Exported, ExportOptions
from planner.files.errors import listed
from planner.files.plan_file import read_plan
from planner.files.whole import ensure_writable, write_whole
from planner.plan.plan import Plan

Export = Callable[[Plan, ExportOptions], Exported]


def _trace(plan: Plan, options: ExportOptions) -> Exported:
    from planner.commands.problem_of_plan import posed_problem, sound_times
    from planner.export.trace import trace_json

    sound_times(options.path, plan)
    problem = posed_problem(options.path, plan, options.graph, options.cluster)
    without = "without counters of memory: --graph and --cluster give them"
    return Exported(trace_json(plan, problem), notes=() if problem is not None else (without,))


def _torch_csv(plan: Plan, options: ExportOptions) -> Exported:
    from planner.commands.problem_of_plan import posed_problem, sound_times
    from planner.export.torch_csv import torch_csv

    sound_times(options.path, plan)
    return torch_csv(plan, posed_problem(options.path, plan, options.graph, options.cluster), options.repair)


def _megatron(plan: Plan, options: ExportOptions) -> Exported:
    from planner.commands.problem_of_plan import posed_problem, sound_times
    from planner.export.megatron import megatron

    sound_times(options.path, plan)
    return megatron(plan, posed_problem(options.path, plan, options.graph, options.cluster), options.layers)


EXPORTS: dict[str, Export] = {
    "trace": _trace,
    "torch-csv": _torch_csv,
    "megatron": _megatron,
}
"""By the name that ``--to`` takes. A new format is a module of ``planner.export`` and a line here."""


def export_command(to: str, options: ExportOptions, output: str | None, quiet: bool) -> int:
    """``planner export``: to the file ``output``, to stdout where that is None or ``-``."""
    if to not in EXPORTS:
        raise UsageFault(f"--to {to}: unknown format; known are {listed(EXPORTS)}")
    for flag, given, format in (
        ("--repair", options.repair, "torch-csv"),
        ("--layers", options.layers is not None, "megatron"),
    ):
        if given and to != format:
            raise UsageFault(f"{flag} goes with --to {format}, not with {to}")
    inputs = {"plan": options.path, "graph": options.graph, "cluster": options.cluster}
    not_an_input(output, {what: path for what, path in inputs.items() if path is not None})
    to_file = output not in (None, "-")
    if to_file:
        ensure_writable(str(output))
    plan = read_plan(options.path)
    try:
        exported = EXPORTS[to](plan, options)
    except CannotExport as reason:
        raise UsageFault(f"{options.path} cannot be exported to {to}: {reason}") from reason
    for remark in exported.notes:
        note(remark, quiet)
    if not to_file:
        emit(exported.text)
        if exported.beside:
            note(f"with -o FILE there are also {listed('FILE' + end for end in exported.beside)}", quiet)
        return ExitCode.DONE
    for end, text in {"": exported.text, **exported.beside}.items():
        write_whole(f"{output}{end}", text)
        note(f"written to {output}{end}", quiet)
    return ExitCode.DONE
