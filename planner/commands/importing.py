"""``planner import``: the names and flags of the importers. What they do stands in ``planner.importers``.

Loaded with the command line itself, so nothing heavy is imported here before a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from planner.importers.document import Document

Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the graph there.  [default: stdout]")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No notes on stderr.")]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the graph.  [default: the file's]")]
Microbatches = Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="Microbatches in one step.")]

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
    from planner.commands.common import ExitCode, emit, note
    from planner.files.whole import write_whole
    from planner.importers.document import checked, to_yaml

    text = checked(to_yaml(document))
    for remark in document.notes:
        note(remark, quiet)
    if output in (None, "-"):
        emit(text)
    else:
        write_whole(str(output), text)
        note(f"written to {output}", quiet)
    return ExitCode.DONE
