"""The comparison as Markdown that GitHub renders: a headline with the verdict, a short table, all figures folded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from planner.plan.plan import Plan
from planner.report.compare import Comparison
from planner.report.verdict import Verdict
from planner.report.words import plain

SHORT = (
    *("strategy", "GPUs", "makespan", "step time", "tokens/s/GPU", "MFU", "lower bound", "gap", "bubble"),
    *("peak memory", "over the cap", "copies"),
)
"""Rows of the table that is not folded."""


def compare_markdown(plans: Sequence[Plan], names: Sequence[str], held: Verdict) -> str:
    """Headline, differences and notes, the rows that matter most, and all rows with their meaning folded."""
    compared = Comparison(plans)
    rows = compared.rows
    changes = ("change", ["", *map(held.change, range(1, len(names)))])
    short = [row for row in rows if row[0] in SHORT]
    measured = "tokens/s/GPU" if compared.strategies else "makespan"
    at = [heading for heading, _ in short].index(measured)
    short.insert(at + 1, changes)
    parts = [f"**{_headline(held)}**", f"Plans of {escaped(compared.title)}"]
    warnings = [f"Different problems: {line}" for line in compared.differences] + list(held.notes)
    if warnings:
        parts.append("\n".join(f"- {escaped(line)}" for line in warnings))
    parts += [
        _table(names, short),
        "<details>\n<summary>All figures</summary>",
        _table(names, rows),
        "\n".join(f"- {escaped(line)}" for line in compared.meaning),
        "</details>",
    ]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Text as Markdown that shows it as it is, inside a cell of a table too; nobody is mentioned and nothing linked."""
    text = re.sub(r"([\\`*_{}\[\]<>|~$])", r"\\\1", plain(text).replace("&", "&amp;"))
    return re.sub(r"([@#]|://|www\.)", r"\1<!-- -->", text)


def code(name: str, cell: bool = False) -> str:
    """A name in a code span; ``cell``: inside a cell of a table."""
    name = plain(name)
    ticks = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    pad = " " if len(ticks) > 1 else ""
    return f"{ticks}{pad}{name.replace('|', chr(92) + '|') if cell else name}{pad}{ticks}"


def _headline(held: Verdict) -> str:
    verdicts = "; ".join(f"{code(name)} is {escaped(held.words(k))}" for k, name in enumerate(held.names) if k)
    limit = held.limit()
    return f"Against {code(held.names[0])}, {verdicts}.{limit and f' {limit}.'}"


def _table(names: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    lines = [["", *(code(name, cell=True) for name in names)], ["---", *("--:" for _ in names)]]
    for heading, cells in rows:
        indent = "&emsp;" if heading.startswith(" ") else ""
        lines.append([indent + escaped(heading.strip()), *(cell and escaped(cell) for cell in cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
