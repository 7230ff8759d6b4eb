"""Rich tables of one style, rendered to a string."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text


def table(columns: Sequence[tuple[str, str]]) -> Table:
    """An empty table; each column is its heading and how it is justified (``left`` or ``right``)."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False, header_style="bold")
    for at, (heading, justify) in enumerate(columns):
        made.add_column(heading, justify="left" if justify == "left" else "right", overflow="fold", no_wrap=at == 0)
    return made


def rendered(parts: Sequence[RenderableType], width: int, color: bool) -> str:
    """The parts one under the other as text, without blanks at the ends of lines."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},  # the caller decides width and colour, not COLUMNS and FORCE_COLOR
    )
    for part in parts:
        console.print(part, soft_wrap=False)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def pairs(rows: Sequence[tuple[str, str]]) -> Table:
    """Names and values in two columns without lines."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(name), Text(value))
    return grid
