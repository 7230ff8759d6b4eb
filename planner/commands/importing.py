"""``planner import``: a graph.yaml from a model or a graph of another format. The formats are those of the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from planner.commands import flags as options
from planner.commands.common import ExitCode, emit, not_an_input, note
from planner.commands.declared import command, flag_of, marked
from planner.commands.lazy import Command, LazyCommand
from planner.files.flag_values import UsageFault
from planner.files.whole import ensure_writable, write_whole
from planner.importers.document import checked
from planner.importers.importer import AlsoWritten, Importer
from planner.importers.registry import IMPORTERS


@dataclass(frozen=True)
class ImportFlags:
    """Options of every importer beside its own."""

    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the graph there.  [default: stdout]")
    ] = None
    quiet: options.NoNotes = False


def group(name: str, help: str) -> Command:
    """The command with one sub-command per importer."""
    commands = TyperGroup(name=name, help=help, rich_markup_mode=None)
    for importer in IMPORTERS.values():
        commands.add_command(LazyCommand(importer.name, importer.help, partial(_command, importer)))
    return commands


def _command(importer: Importer) -> Command:
    def run(flags: ImportFlags, own: Any) -> int:
        return import_with(importer, flags, own)

    return command(importer.name, importer.help, run, ImportFlags, importer.flags)


def import_with(importer: Importer, flags: ImportFlags, own: Any) -> int:
    """Read the source and write the graph, to its file or to stdout, then the second files.

    Outputs that cannot be written, or are an input, are refused before any work.
    """
    source: Path = getattr(own, fields(own)[0].name)
    also = _also_written(own)
    not_an_input(flags.output, {"input": source})
    if flags.output not in (None, "-"):
        ensure_writable(str(flags.output))
    for flag, (path, _) in also.items():
        _check_beside(flag_of(flag), path, {"input": source, "graph": flags.output})
    imported = importer.read(own)
    text = checked(imported.text)  # planner's own reader accepts it
    for remark in imported.notes:
        note(remark, flags.quiet)
    if flags.output in (None, "-"):
        emit(text)
    else:
        write_whole(str(flags.output), text)
        note(f"written to {flags.output}", flags.quiet)
    for flag, (path, what) in also.items():
        write_whole(path, imported.beside[flag])
        note(f"{what} written to {path}", flags.quiet)
    return ExitCode.DONE


def _also_written(own: Any) -> dict[str, tuple[str, str]]:
    """Second files that are asked for, by field: path, and what they hold."""
    marks = marked(type(own), AlsoWritten)
    return {name: (getattr(own, name), mark.what) for name, mark in marks.items() if getattr(own, name) is not None}


def _check_beside(flag: str, path: str, others: Mapping[str, object]) -> None:
    if path == "-":
        raise UsageFault(f"{flag} takes the name of a file: the graph goes to stdout")
    not_an_input(path, {what: other for what, other in others.items() if other not in (None, "-")}, flag)
    ensure_writable(path)
