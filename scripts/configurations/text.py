"""What all families share: a pair of files, comments that are filled, sizes that are read easily."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True)
class Config:
    """The text of one pair of files."""

    name: str
    graph: str
    cluster: str


def comment(text: str) -> str:
    """Paragraphs as YAML comments, filled; a line that starts with "- " begins an item."""
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        if lines:
            lines.append("")
        items: list[str] = []
        for line in paragraph.splitlines():
            if line.startswith("- ") or not items:
                items.append(line)
            else:
                items[-1] += " " + line.strip()
        for item in items:
            hanging = "  " if item.startswith("- ") else ""
            lines += textwrap.wrap(item, 106, subsequent_indent=hanging, break_on_hyphens=False)
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def header(name: str, flags: str, text: str) -> str:
    """The comment at the top of a graph: what it is, and how to run it."""
    files = f"configs/{name}/graph.yaml configs/{name}/cluster.yaml"
    return comment(text) + f"#\n# {' '.join(f'run: planner solve {files} {flags}'.split())}\n"


def rounded(value: float, unit: str) -> str:
    """A comment that reads easier than the exact number before it."""
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}"


def size(field: str, value: int, indent: int) -> str:
    """A line with a size in bytes."""
    return f"{' ' * indent}{field}: {value}  # {rounded(value, 'B')}\n"
