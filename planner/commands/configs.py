"""``planner configs``: the graphs, models and clusters that come with the installation, listed or copied."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.commands import flags as options
from planner.commands.common import ExitCode, emit, note, report_style
from planner.files import read_cluster
from planner.files.errors import did_you_mean
from planner.files.flag_values import UsageFault
from planner.files.shipped import Kind, Shipped, folder, shipped
from planner.files.whole import make_folder, write_all
from planner.report.words import number, size

TITLES = {
    Kind.GRAPH: "graphs, each with its cluster",
    Kind.MODEL: "models, by name wherever CONFIG stands",
    Kind.CLUSTER: "clusters; h100:4x8 wherever CLUSTER stands is 4 nodes of 8 H100, and so with every type",
}


def _names() -> list[str]:
    return [each.name for each in shipped()]


@dataclass(frozen=True)
class ConfigsFlags:
    """Options of ``planner configs``."""

    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these.", autocompletion=_names)
    ] = None
    copy: Annotated[
        Path | None, typer.Option("--copy", metavar="DIR", help="Write their files there, all of them or none.")
    ] = None
    force: options.Force = False
    format: options.OutputFormat = options.Format.text
    quiet: options.NoNotes = False


def run(flags: ConfigsFlags) -> int:
    """List them, or copy them and print the commands that plan the graphs."""
    chosen = _chosen(flags.names or ())
    if flags.copy is None:
        if flags.force:
            raise UsageFault("--force goes with --copy DIR")
        place = folder()
        emit(_document(chosen, place) if flags.format is options.Format.json else _table(chosen))
        note(f"they stand in {place}; --copy DIR writes them to a folder of yours", flags.quiet)
        return ExitCode.DONE
    written = _copy(chosen, flags.copy, flags.force)
    for path in written:
        note(f"written to {path}", flags.quiet)
    emit(_document(chosen, flags.copy) if flags.format is options.Format.json else _commands(chosen, flags.copy))
    return ExitCode.DONE


def _chosen(names: Sequence[str]) -> Sequence[Shipped]:
    known = {each.name: each for each in shipped()}
    for name in names:
        if name not in known:
            raise UsageFault(f"no graph, model or cluster is called {name!r}; {did_you_mean(name, known)}")
    return [each for name, each in known.items() if not names or name in names]


def _copy(chosen: Sequence[Shipped], target: Path, force: bool) -> Sequence[Path]:
    """Write the files below ``target`` in the folders that they have here. Files that are there and equal stay.

    Raises ``UsageFault`` and writes nothing where another file is in the way and ``force`` is not given.
    """
    place = folder()
    files = {target / file: (place / file).read_bytes() for each in chosen for file in each.files}
    files = {path: content for path, content in files.items() if not _equal(path, content)}
    there = [str(path) for path in files if path.exists() or path.is_symlink()]
    if there and not force:
        first, more = there[0], f" (and {len(there) - 1} more)" if there[1:] else ""
        raise UsageFault(f"{first} exists already and differs{more}: name another folder, or --force to replace them")
    for path in dict.fromkeys(path.parent for path in files):
        make_folder(path)
    write_all(files)
    return list(files)


def _equal(path: Path, content: bytes) -> bool:
    try:
        return path.is_file() and path.read_bytes() == content
    except OSError:  # unreadable: it is in the way
        return False


def _table(chosen: Sequence[Shipped]) -> str:
    width, place = report_style()[0], folder()
    parts = []
    for kind, title in TITLES.items():
        listed = [each for each in chosen if each.kind is kind]
        column = max((len(each.name) for each in listed), default=0) + 2
        rows = [_cut(f"  {each.name:<{column}}{_line(each, place)}", width) for each in listed]
        parts += ["\n".join([title, *rows])] if rows else []
    return "\n\n".join(parts) + "\n"


def _line(each: Shipped, place: Path) -> str:
    """What it is; of a cluster, what a device holds and how fast the network is, too."""
    if each.kind is not Kind.CLUSTER:
        return each.about
    figures = _figures(place / each.files[0])
    within, between = (f"{number(figures[key] / 1e9)} GB/s" for key in ("within_node", "between_nodes"))
    return f"{each.about.rstrip('.')}: {size(figures['memory'])}, {within} within, {between} between"


def _figures(path: Path) -> Mapping[str, Any]:
    """Of a shipped cluster, which has one type of device: its name, bytes of a device, bytes a second of a pair."""
    cluster = read_cluster(path)
    (kind,) = cluster.types.values()
    levels = {"within_node": cluster.within_node, "between_nodes": cluster.between_nodes}
    rates = {name: level.bandwidth for name, level in levels.items() if level is not None}
    return {"type": kind.name, "memory": kind.memory, "devices_per_node": len(cluster.devices), **rates}


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 3].rstrip() + "..."


def _document(chosen: Sequence[Shipped], place: Path) -> str:
    return (
        json.dumps({"schema": "planner/configs@1", "configs": [_entry(each, place) for each in chosen]}, indent=1)
        + "\n"
    )


def _entry(each: Shipped, place: Path) -> Mapping[str, Any]:
    names = (each.kind.value,) if each.kind is not Kind.GRAPH else ("graph", "cluster")
    files = {name: str(place / file) for name, file in zip(names, each.files, strict=True)}
    figures = _figures(place / each.files[0]) if each.kind is Kind.CLUSTER else {}
    return {"name": each.name, "kind": each.kind.value, "about": each.about, **files, **figures}


def _commands(chosen: Sequence[Shipped], place: Path) -> str:
    graphs = [each for each in chosen if each.kind is Kind.GRAPH]
    return "".join(
        f"planner solve {' '.join(shlex.quote(str(place / file)) for file in each.files)}\n" for each in graphs
    )
