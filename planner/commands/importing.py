"""``planner import``: the names and flags of the importers. What they do stands in ``planner.importers``.

Loaded with the command line itself, so nothing heavy is imported here before a command runs.
"""

from __future__ import annotations

from enum import StrEnum
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.importers.document import Document

Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the graph there.  [default: stdout]")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No notes on stderr.")]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the graph.  [default: the file's]")]
Microbatches = Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="Microbatches in one step.")]


class TimeUnit(StrEnum):
    """Values of ``--unit``."""

    s = "s"
    ms = "ms"
    us = "us"


import_app = typer.Typer(
    name="import",
    help="A graph.yaml from a model or a graph of another format.",
    rich_markup_mode=None,
)


@import_app.callback()
def _import() -> None:
    """A graph.yaml from a model or a graph of another format."""


def ready_to_write(output: str | None, source: Path) -> None:
    """Refuse, before any work, an output that cannot be written or is the input itself."""
    from planner.commands.common import not_an_input
    from planner.files.whole import ensure_writable

    not_an_input(output, {"input": source})
    if output not in (None, "-"):
        ensure_writable(str(output))


def deliver(document: Document, output: str | None, quiet: bool) -> int:
    """Write the graph whole, to the file or to stdout, and say on stderr what there is to say about it."""
    from planner.importers.document import to_yaml

    return deliver_text(to_yaml(document), document.notes, output, quiet)


def ready_beside(output: str | None, others: dict[str, object]) -> None:
    """Refuse, before any work, a second file that cannot be written or is one of the others."""
    from planner.commands.common import UsageFault, not_an_input
    from planner.files.whole import ensure_writable

    if output == "-":
        raise UsageFault("--cluster takes the name of a file: the graph goes to stdout")
    not_an_input(output, {what: path for what, path in others.items() if path not in (None, "-")}, "--cluster")
    if output is not None:
        ensure_writable(output)


def deliver_text(text: str, remarks: Sequence[str], output: str | None, quiet: bool) -> int:
    """Write the text of a graph, which planner's own reader has taken, and the remarks."""
    from planner.commands.common import ExitCode, emit, note
    from planner.files.whole import write_whole
    from planner.importers.document import checked

    text = checked(text)
    for remark in remarks:
        note(remark, quiet)
    if output in (None, "-"):
        emit(text)
    else:
        write_whole(str(output), text)
        note(f"written to {output}", quiet)
    return ExitCode.DONE


@import_app.command("pipedream")
def _pipedream(
    source: Annotated[Path, typer.Argument(metavar="GRAPH.TXT", help="A profile of PipeDream's profiler.")],
    output: Output = None,
    name: Name = None,
    microbatches: Microbatches = 1,
    state: Annotated[
        float, typer.Option(min=0, max=1000, metavar="N", help="Bytes held for each byte of weights.")
    ] = 3.0,
    quiet: Quiet = False,
) -> int:
    """A profile of PipeDream (graph.txt)."""
    from planner.commands.common import UsageFault
    from planner.importers.measured.pipedream import pipedream

    if isnan(state):  # which is below no limit and above none
        raise UsageFault("--state must be a number from 0 to 1000; got nan")
    ready_to_write(output, source)
    return deliver(pipedream(source, name=name, microbatches=microbatches, state=state), output, quiet)


@import_app.command("msr")
def _msr(
    source: Annotated[Path, typer.Argument(metavar="FILE.json", help="An input of msr-fiddle/dnn-partitioning.")],
    output: Output = None,
    cluster: Annotated[str | None, typer.Option(metavar="FILE", help="Write the file's devices there.")] = None,
    name: Name = None,
    microbatches: Microbatches = 1,
    unit: Annotated[TimeUnit, typer.Option(help="Of the file's latencies and costs.")] = TimeUnit.ms,
    quiet: Quiet = False,
) -> int:
    """A placement problem of msr-fiddle/dnn-partitioning: graph and devices."""
    from planner.commands.common import note
    from planner.files.whole import write_whole
    from planner.importers.measured.msr import msr

    ready_to_write(output, source)
    ready_beside(cluster, {"input": source, "graph": output})
    document, devices = msr(source, name=name, microbatches=microbatches, unit=unit.value)
    code = deliver(document, output, quiet)
    if cluster is not None:
        write_whole(cluster, devices)
        note(f"devices written to {cluster}", quiet)
    return code


@import_app.command("profile")
def _profile(
    source: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Rows of operator,pass,device type,seconds.")],
    into: Annotated[Path, typer.Option(metavar="GRAPH", help="The graph.yaml that is to have these times.")],
    output: Output = None,
    quiet: Quiet = False,
) -> int:
    """Measured times into a graph.yaml."""
    from planner.importers.measured.profile import profile

    ready_to_write(output, source)
    text, remarks = profile(source, into)
    return deliver_text(text, remarks, output, quiet)
