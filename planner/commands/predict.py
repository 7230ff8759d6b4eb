"""``planner predict``: step time and memory of a table of strategies."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from planner.commands import flags as options
from planner.commands.common import ExitCode, emit, not_an_input, note
from planner.commands.running import ProgressLine
from planner.files import read_cluster
from planner.files.flag_values import UsageFault
from planner.files.whole import ensure_writable, write_whole
from planner.importers.flags import Calibration, Family, HfConfigFile
from planner.prediction.table import predict_rows, read_model_file, read_table, table_text

REDRAWN = 0.1
"""Seconds between two states of the progress line."""


@dataclass(frozen=True)
class PredictFlags:
    """Options of ``planner predict``."""

    config: HfConfigFile
    cluster: options.ClusterFile
    strategies: Annotated[
        Path, typer.Argument(metavar="STRATEGIES", help="A CSV file: a header, then a strategy a line.")
    ]
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the table there; - prints it.  [default: stdout]"),
    ] = None
    family: Family = None
    calibration: Calibration = None
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no progress on stderr.")] = False


def run(flags: PredictFlags) -> int:
    """Predict every row; write the table to its file or to stdout, as a whole."""
    _check(flags)
    model = read_model_file(flags.config, flags.family)
    cluster, table = read_cluster(flags.cluster), read_table(flags.strategies)
    line = _Rows(len(table.rows)) if ProgressLine.wanted(flags.quiet) else None
    try:
        rows = predict_rows(model, cluster, table.rows, line.draw if line else lambda done: None, flags.calibration)
    except ValueError as error:
        raise UsageFault(str(error)) from error
    finally:
        if line:
            line.clear()
    text = table_text(table.columns, rows)
    if flags.output in (None, "-"):
        emit(text)
    else:
        write_whole(str(flags.output), text)
    _say(flags, rows)
    return ExitCode.DONE


def _check(flags: PredictFlags) -> None:
    """Refuse, before any work, two inputs from stdin and an output that is an input or cannot be written."""
    inputs = {"config": flags.config, "cluster": flags.cluster, "table of strategies": flags.strategies}
    if sum(str(path) == "-" for path in inputs.values()) > 1:
        raise UsageFault("only one of config, cluster and strategies can come from stdin: name files for the others")
    not_an_input(flags.output, inputs)
    if flags.output not in (None, "-"):
        ensure_writable(str(flags.output))


def _say(flags: PredictFlags, rows: Sequence[Mapping[str, str]]) -> None:
    without = [row for row in rows if row["reason"]]
    large = sum(row["fits"] == "false" for row in rows)
    parts = [f"{len(rows) - len(without)} of {len(rows)} strategies predicted"]
    parts += [f"{large} do not fit in memory"] if large else []
    parts += [f"{len(without)} have a reason instead"] if without else []
    note("; ".join(parts), flags.quiet)
    if flags.output not in (None, "-"):
        note(f"written to {flags.output}", flags.quiet)


class _Rows:
    """How many rows are done, on one line of a terminal."""

    def __init__(self, total: int) -> None:
        self.total, self.drawn, self.width = total, time.monotonic(), 0

    def draw(self, done: int) -> None:
        """Redraw the line, at most every ``REDRAWN`` seconds."""
        now = time.monotonic()
        if now - self.drawn >= REDRAWN:
            self.drawn = now
            self._write(f"{done} of {self.total} strategies")

    def clear(self) -> None:
        """Leave an empty line."""
        if self.width:
            self._write("")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write("\r" + text.ljust(self.width) + ("" if text else "\r"))
            sys.stderr.flush()
        except OSError:
            return
        self.width = len(text)
