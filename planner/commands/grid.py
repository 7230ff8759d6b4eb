"""A grid of options: each option of ``planner solve`` that takes a value takes several, and the grid is their product.

Nothing is declared here: names, values, help and errors are those of ``SolveFlags``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, make_dataclass
from functools import partial
from itertools import product
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.models import OptionInfo

from planner.commands.declared import Help, Joined, OneOf, Reads, Recorded, annotations_of, command, flag_of, marked
from planner.commands.solve import SolveFlags
from planner.files.errors import shown
from planner.files.flag_values import UsageFault

NOT_IN_THE_GRID = ("output", "format", "start")
"""Options of solve that say what becomes of the plan, or where it begins: points begin with plans of one another."""
POINTS_AT_MOST = 10_000
RANGE = re.compile(r"([^:]+):([^:]+):([^:]+)")
DIGITS = 12
"""Significant digits of the values of a range: 0.1:0.3:0.1 ends with 0.3."""

DEFAULTS: Mapping[str, str] = {"threads": "1"}
"""Where a sweep has another default than solve: it solves several problems side by side."""


def _options() -> dict[str, tuple[Field[Any], Any]]:
    """The options of solve that take a value, with their annotations."""
    found = {}
    for field, annotation in annotations_of(SolveFlags):
        info = next((mark for mark in get_args(annotation)[1:] if isinstance(mark, OptionInfo)), None)
        if info is not None and get_args(annotation)[0] is not bool and field.name not in NOT_IN_THE_GRID:
            found[field.name] = field, annotation
    return found


def _grid_field(name: str, field: Field[Any], annotation: Any) -> tuple[str, Any, Any]:
    """The same option as a text that lists values."""
    _, *marks = get_args(annotation)
    info = next(mark for mark in marks if isinstance(mark, OptionInfo))
    said = next((mark for mark in marks if isinstance(mark, Help)), None)
    joined = any(isinstance(mark, Joined) for mark in marks)
    default = DEFAULTS.get(name, field.default)
    metavar = info.metavar or "NAME"
    more = f"{metavar}{';' if joined else ','}..."
    text = partial(_help, said.text if said else None, info.help or "", default)
    return name, Annotated[str | None, typer.Option(metavar=more), Help(text)], None


def _help(said: Any, text: str, default: Any) -> str:
    text = said() if said else text
    return text if default is None or "[default" in text else f"{text}  [default: {default}]"


Grid: type = make_dataclass(
    "Grid",
    [_grid_field(name, *of) for name, of in _options().items()],
    frozen=True,
)
"""A text for each option of solve that takes a value; None where it is not given."""


def places(grid: Any, graph: str, cluster: str, quiet: bool) -> list[SolveFlags]:
    """The options of every point, in the order of the options and of the values given.

    Raises ``UsageFault``, and what ``planner solve`` raises for a value that it does not take.
    """
    axes = {name: _values(name, text) for name, text in _given(grid)}
    count = 1
    for several in axes.values():
        count *= len(several)
    if count > POINTS_AT_MOST:
        raise UsageFault(f"the grid has {count:,} points, more than {POINTS_AT_MOST:,}: give shorter lists")
    read: list[SolveFlags] = []
    single = command("sweep", "", lambda flags: read.append(flags) or 0, SolveFlags)  # type: ignore[func-returns-value]
    common = [*(["--quiet"] if quiet else []), "--", graph, cluster]
    for values in product(*axes.values()):
        chosen = [f"{flag_of(name)}={value}" for name, value in zip(axes, values, strict=True)]
        single.main([*chosen, *common], "planner sweep", standalone_mode=False)
    return read


def _given(grid: Any) -> Iterator[tuple[str, str]]:
    for field in fields(grid):
        text = getattr(grid, field.name)
        text = DEFAULTS.get(field.name) if text is None else text
        if text is not None:
            yield field.name, text


def _values(name: str, text: str) -> list[str]:
    """The values of one option, each as solve takes it, none twice."""
    joined = name in marked(SolveFlags, Joined)
    found: list[str] = []
    for part in text.split(";" if joined else ","):
        ranged = RANGE.fullmatch(part.strip())
        found += _range(name, *ranged.groups()) if ranged and _read(name) else [part.strip()]
    return list(dict.fromkeys(found))


def _read(name: str) -> Any:
    """How a number of this option is read; None where it takes none."""
    _, annotation = _options()[name]
    kind, *marks = get_args(annotation)
    if any(isinstance(mark, OneOf | Joined) for mark in marks):
        return None
    if kind is int or (get_origin(kind) is not None and int in get_args(kind)):
        return _whole
    return next((mark.read for mark in marks if isinstance(mark, Reads | Recorded) and mark.read is not None), None)


def _whole(flag: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageFault(f"{flag}: {shown(text)} is not a whole number") from None


def _range(name: str, first: str, last: str, step: str) -> list[str]:
    """The values from the first to the last, which is one of them where the steps meet it."""
    flag, read = flag_of(name), _read(name)
    low, high, by = (float(read(flag, text.strip())) for text in (first, last, step))
    what = f"{flag}: {shown(f'{first}:{last}:{step}')}"
    if by <= 0:
        raise UsageFault(f"{what} has no step above 0: FROM:TO:STEP counts up from FROM to TO")
    if high < low:
        raise UsageFault(f"{what} ends before it begins: FROM:TO:STEP counts up from FROM to TO")
    count = int((high - low) / by * (1 + 1e-9)) + 1
    if count > POINTS_AT_MOST:
        raise UsageFault(f"{what} has {count:,} values, more than {POINTS_AT_MOST:,}")
    return [_plain(low + k * by) for k in range(count)]


def _plain(value: float) -> str:
    value = float(f"{value:.{DIGITS}g}")
    return str(int(value)) if value.is_integer() else repr(value)
