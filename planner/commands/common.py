"""Shared by all commands: exit codes and output."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import NoReturn

from planner.common.messages import brief
from planner.files.flag_values import UsageFault


class ExitCode(IntEnum):
    """The exit codes of all commands."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    INFEASIBLE = 3
    NO_PLAN = 4
    THRESHOLD = 5
    VIOLATIONS = 6


def emit(text: str) -> None:
    """Write data to stdout. A closed pipe (``| head``) is no error."""
    if sys.stdout is None:
        return
    try:
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal without UTF-8 shows ? instead of a traceback
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would raise again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise UsageFault(f"stdout cannot be written: {(error.strerror or str(error)).lower()}") from error


def note(text: str, quiet: bool = False) -> None:
    """Write a remark to stderr."""
    if quiet or sys.stderr is None:
        return
    try:
        print(f"planner: {brief(text)}", file=sys.stderr, flush=True)
    except (OSError, UnicodeEncodeError):
        return


def leave_now(code: int) -> NoReturn:
    """End the process without waiting for a solver that has not returned."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                continue
    os._exit(code)


def report_style() -> tuple[int, bool]:
    """Width and whether to colour: those of the terminal; 100 columns and none where stdout is no terminal."""
    if sys.stdout is None or not sys.stdout.isatty():
        return 100, False
    width = min(180, max(60, shutil.get_terminal_size((100, 24)).columns))
    return width, not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def not_an_input(output: str | None, inputs: Mapping[str, object], flag: str = "-o") -> None:
    """Refuse to replace an input by the output that ``flag`` names."""
    if output in (None, "-"):
        return
    for what, path in inputs.items():
        if os.path.realpath(str(output)) == os.path.realpath(str(path)):
            raise UsageFault(f"{flag} {output} is the {what} itself: name another file")
