"""Puts measured times (CSV: operator, pass, device type, seconds) into an existing ``graph.yaml``."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from planner.files.errors import InputError, did_you_mean, shown
from planner.files.graph_file import read_graph
from planner.files.yaml_source import Map, read_source
from planner.importers.document import Document, OperatorDraft, to_yaml
from planner.importers.importer import Imported
from planner.importers.measured.tree import dump_tree
from planner.importers.source import read_text
from planner.problem.graph import ByDevice, Graph, Operator, Pass, PassTime, Work
from planner.problem.quantities import SECONDS, QuantityError, parse_quantity

COLUMNS = ("operator", "pass", "device type", "seconds")
PASSES = {"forward": Pass.F, "f": Pass.F, "input_grad": Pass.I, "i": Pass.I, "weight_grad": Pass.W, "w": Pass.W}
LONGEST = 200  # characters of a device type's name
KEYS = {Pass.F: "forward", Pass.I: "input_grad", Pass.W: "weight_grad"}

Times = dict[Pass, dict[str, float]]
"""Seconds by pass and device type; the type ``""`` stands for every device."""


@dataclass(frozen=True)
class ProfileFlags:
    """Options of ``planner import profile``."""

    source: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Rows of operator,pass,device type,seconds.")]
    into: Annotated[Path, typer.Option(metavar="GRAPH", help="The graph.yaml that is to have these times.")]


class MeasuredProfile:
    """The importer."""

    name = "profile"
    help = "Measured times into a graph.yaml."
    flags = ProfileFlags

    def read(self, flags: ProfileFlags) -> Imported:
        """The graph with the measured times."""
        text, remarks = profile(flags.source, flags.into)
        return Imported(text, tuple(remarks))


@dataclass
class Template:
    """An operator's entry in the file, and the names of its copies after blocks are expanded."""

    entry: Map
    name: str  # without the numbers of copies: layer.attn
    copies: list[str] = field(default_factory=list)


def profile(path: Path, into: Path) -> tuple[str, list[str]]:
    """The text of the graph with the measured times, and notes for the user.

    A row names an operator (``embed``, ``layer.3.attn``), all copies of one (``layer.attn``) or, with ``*``, all that
    match (``layer.*.attn``). Rows of the same operator, pass and device type are runs: their median counts. If a pass
    has a time for each device type, types without a row keep theirs; a single time for all devices and an operator's
    ``work`` are replaced. Blocks stay blocks unless their copies have different rows.

    Raises ``InputError`` with file, line and column.
    """
    graph = read_graph(into)
    source = read_source(into)
    templates = list(_templates(source.root["operators"], "", [""]))
    measured, runs = _read_times(path, templates)
    if not measured:
        raise InputError(path, None, None, "has no measured time: a row for each below the line of names")
    rows = sum(len(times) for found in measured.values() for times in found.values())
    remarks = [f"{rows} measured times for {len(measured)} of {len(graph.operators)} operators"]
    if runs > rows:
        remarks.append(f"{runs} rows: of several for one operator, pass and device type the median counts")
    apart = [t.name for t in templates if any(measured.get(c) != measured.get(t.copies[0]) for c in t.copies)]
    header = f"{into.name} with the measured times of {path.name} (planner import profile)."
    for operator in graph.operators:
        _check_work(path, operator, measured.get(operator.name, {}))
    if apart:
        remarks.append(
            f"copies of {apart[0]} were measured apart: blocks are written out, sizes in bytes and times in seconds"
        )
        operators = [_draft(operator, measured.get(operator.name, {})) for operator in graph.operators]
        text = to_yaml(Document(graph.name, operators, header, graph.mode, graph.microbatches))
    else:
        for template in templates:
            _put(template.entry, measured.get(template.copies[0], {}))
        text = dump_tree(source.root, header, into.read_text(encoding="utf-8-sig"))
    return text, remarks + _changed(graph, measured)


# -- the rows -------------------------------------------------------------------------------------------------


def _read_times(path: Path, templates: list[Template]) -> tuple[dict[str, Times], int]:
    """Measured times by expanded operator, and the number of rows that they come from."""
    seconds: dict[tuple[str, Pass, str], list[float]] = {}
    known = {template.name: template.copies for template in templates}
    known |= {copy: [copy] for template in templates for copy in template.copies}
    for line, row in _rows(path):
        which = PASSES.get(row["pass"].lower())
        if which is None:
            allowed = ", ".join(KEYS.values())
            raise InputError(path, line, "pass", f"is one of {allowed} or F, I, W (got {shown(row['pass'])})")
        try:
            value = parse_quantity(_number(row["seconds"]), SECONDS)
        except QuantityError as error:
            raise InputError(path, line, "seconds", str(error)) from None
        device = row["device type"]
        if not device.isprintable() or len(device) > LONGEST:
            raise InputError(path, line, "device type", f"must have at most {LONGEST} printable characters")
        for copy in _meant(path, line, row["operator"], known):
            seconds.setdefault((copy, which, device), []).append(value)
    found: dict[str, Times] = {}
    for (copy, which, device), values in seconds.items():
        found.setdefault(copy, {}).setdefault(which, {})[device] = median(values)
    for copy, times in found.items():
        for which, by_device in times.items():
            if "" in by_device and len(by_device) > 1:
                message = f"{copy}, {KEYS[which]}: has rows with a device type and rows without one: give all or none"
                raise InputError(path, None, "device type", message)
    return found, sum(map(len, seconds.values()))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(read_text(path)), strict=True)
    names: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
                continue
            if names is None:
                names = [" ".join(cell.strip().lower().replace("_", " ").split()) for cell in cells]
                for column in COLUMNS:
                    if column not in names:
                        expected = ",".join(COLUMNS)
                        raise InputError(path, reader.line_num, column, f"is no column: begin with the line {expected}")
                continue
            if len(cells) != len(names):
                message = f"has {len(cells)} cells, the first line has {len(names)}"
                raise InputError(path, reader.line_num, None, message)
            yield reader.line_num, {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
    except csv.Error as error:
        raise InputError(path, reader.line_num, None, f"is not valid CSV: {error}") from None
    if names is None:
        raise InputError(path, 1, None, f"is empty: begin with the line {','.join(COLUMNS)}")


def _number(text: str) -> float | str:
    """A bare number as a float, so that its errors are worded as in YAML files; else the text with a unit."""
    try:
        return float(text)
    except ValueError:
        return text


def _meant(path: Path, line: int, name: str, known: Mapping[str, list[str]]) -> list[str]:
    if name in known:
        return known[name]
    if "*" in name:
        pattern = re.compile(".*".join(map(re.escape, name.split("*"))))
        found = {copy: None for entry, copies in known.items() if pattern.fullmatch(entry) for copy in copies}
        if found:
            return list(found)
    raise InputError(path, line, "operator", f"the graph has no operator {shown(name)}: {did_you_mean(name, known)}")


# -- the graph ------------------------------------------------------------------------------------------------


def _templates(entries: list[Any], name: str, copies: list[str]) -> Iterator[Template]:
    """The operators of a list; ``copies``: the prefixes of their full names (``layer.0.``, ``layer.1.``, ...)."""
    for entry in entries:
        if "block" in entry:
            label, repeat = entry["block"], entry.get("repeat", 1)
            inner = [f"{copy}{label}.{k}." for copy in copies for k in range(repeat)]
            yield from _templates(entry["operators"], f"{name}{label}.", inner)
        else:
            yield Template(entry, f"{name}{entry['name']}", [f"{copy}{entry['name']}" for copy in copies])


def _check_work(path: Path, operator: Operator, times: Times) -> None:
    """``InputError`` if an operator has work and not all its passes were measured: work and times do not mix."""
    missing = [KEYS[p] for p, cost in operator.times.items() if p not in times and _is_work(cost)]
    if times and missing:
        names = ", ".join(missing)
        message = f"{operator.name} has work in the graph and no row for {names}: measure all its passes"
        raise InputError(path, None, "pass", message)


def _is_work(cost: object) -> bool:
    return isinstance(cost, Work) and (cost.flops > 0 or cost.bytes > 0)


def _put(entry: Map, times: Times) -> None:
    """Put the measured times into the operator's entry."""
    if not times:
        return
    work = entry.pop("work", None)
    place = entry.setdefault("time", {})
    if work is not None:  # passes that were not measured have no work: length 0, or no such pass
        place.update({key: None if cost is None else 0 for key, cost in work.items() if key in KEYS.values()})
    for which, by_device in times.items():
        key = KEYS[which]
        if "" in by_device:
            place[key] = by_device[""]
        else:
            before = place.get(key)
            place[key] = {**(before if isinstance(before, dict) else {}), **by_device}


def _draft(operator: Operator, times: Times) -> OperatorDraft:
    merged: dict[Pass, PassTime] = dict(operator.times)
    for which, by_device in times.items():
        before = merged.get(which)
        kept = before.seconds if isinstance(before, ByDevice) else {}
        merged[which] = by_device[""] if "" in by_device else ByDevice({**kept, **by_device})
    if times:
        merged = {which: 0.0 if isinstance(cost, Work) else cost for which, cost in merged.items()}
    return OperatorDraft(
        operator.name,
        merged,
        operator.inputs or None,
        operator.stream,
        operator.parameters,
        operator.activation,
        operator.held_for_weight_grad,
        operator.output,
        operator.colocate,
        operator.devices,
    )


def _changed(graph: Graph, measured: Mapping[str, Times]) -> list[str]:
    """Notes on the times that stay and on those that are replaced."""
    left = [operator.name for operator in graph.operators if operator.name not in measured]
    narrowed = [
        operator.name
        for operator in graph.operators
        for which, by_device in measured.get(operator.name, {}).items()
        if "" not in by_device and which in operator.times and not isinstance(operator.times[which], ByDevice)
    ]
    remarks = [f"{len(left)} operators keep the times that the graph has: {_first(left)}"] if left else []
    if narrowed:
        remarks.append(
            f"{len(set(narrowed))} operators had times for all devices and have them for the measured types only: "
            f"{_first(list(dict.fromkeys(narrowed)))}"
        )
    return remarks


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
