"""Delivery of a plan: to its file, and as a report or JSON to stdout."""

from __future__ import annotations

from typing import Protocol

from planner.commands.common import ExitCode, emit, note, report_style
from planner.commands.flags import Format
from planner.common.packed import packed
from planner.files.errors import InputError
from planner.files.whole import write_whole
from planner.plan.plan import Plan, plan_to_json
from planner.problem import Problem
from planner.report.line import report_line


class Delivery(Protocol):
    """The options that say where a plan goes."""

    @property
    def output(self) -> str | None:
        """The file to write, ``-`` for stdout."""

    @property
    def compact(self) -> bool:
        """The plan in the compact form."""

    @property
    def format(self) -> Format:
        """Text or JSON on stdout."""

    @property
    def quiet(self) -> bool:
        """No notes; the report is one line."""


def deliver(plan: Plan, flags: Delivery, problem: Problem | None = None) -> ExitCode:
    """Write the plan to its file, if one is named; then print it or its report, with figures that take the problem."""
    if flags.output == "-":
        emit(plan_to_json(plan, compact=flags.compact))
        return ExitCode.DONE
    code = ExitCode.DONE
    if flags.output is not None:
        try:
            write_whole(flags.output, packed(flags.output, plan_to_json(plan, compact=flags.compact)))
        except InputError as error:  # it was writable when the search began; print the report all the same
            note(str(error))
            code = ExitCode.INTERNAL
        else:
            note(f"plan written to {flags.output}", flags.quiet)
    if flags.format is Format.json:
        emit(plan_to_json(plan, compact=flags.compact))
    elif flags.quiet:
        emit(report_line(plan))
    else:
        from planner.report.text import report_text  # loads what draws tables, after the plan is written

        emit(report_text(plan, *report_style(), problem))
    return code
