"""An explanation written as text, as Markdown, as HTML and as a JSON document."""

from __future__ import annotations

import html
from typing import Any

from rich.text import Text

from planner.explain.explanation import Explanation, Tried
from planner.explain.words import IDLE, Section, sections, title_of
from planner.report.tables import rendered, table

SCHEMA = "planner/explanation@1"


def explanation_text(made: Explanation, width: int = 100, color: bool = False) -> str:
    """Sentences and tables for a terminal of that width."""
    parts: list[Any] = [Text(title_of(made), style="bold")]
    for section in sections(made):
        parts += [Text(), Text(section.heading, style="bold"), *map(Text, section.sentences)]
        if section.rows:
            shown = table([(c, "left" if k == 0 else "right") for k, c in enumerate(section.columns)])
            for row in section.rows:
                shown.add_row(*map(Text, row))
            parts += [Text(), shown]
    return rendered(parts, width, color)


def explanation_markdown(made: Explanation) -> str:
    """The same for a page or an issue."""
    return "\n\n".join([f"# {_escaped(title_of(made))}", *map(_section, sections(made))]) + "\n"


def _section(section: Section) -> str:
    parts = [f"## {_escaped(section.heading)}", *map(_escaped, section.sentences)]
    if section.rows:
        rule = ["---", *["---:"] * (len(section.columns) - 1)]
        rows = [section.columns, rule, *section.rows]
        lines = (row if row is rule else [_escaped(cell) for cell in row] for row in rows)
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts)


def _escaped(text: str) -> str:
    """Text whose characters mean nothing to Markdown."""
    for mark in "\\|*_<>`":
        text = text.replace(mark, f"\\{mark}")
    return text


def explanation_html(made: Explanation) -> str:
    """Sections for the page of a report, apart from the idle time by cause, which the page has."""
    return "".join(_html(section) for section in sections(made) if section.heading != IDLE)


def _html(section: Section) -> str:
    said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in section.sentences)
    if section.rows:
        heads = "".join(f"<th scope='col'>{html.escape(column)}</th>" for column in section.columns)
        rows = (
            f"<tr><th scope='row'>{html.escape(row[0])}</th>"
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in section.rows
        )
        said += f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<section>\n<h2>{html.escape(section.heading)}</h2>\n{said}\n</section>\n"


def explanation_document(made: Explanation) -> dict[str, Any]:
    """The same as one JSON document (``planner/explanation@1``): seconds, bytes and counts."""
    plan, path, memory = made.plan, made.path, made.memory
    return {
        "schema": SCHEMA,
        "graph": plan.graph.name,
        "cluster": plan.cluster.name,
        "microbatches": plan.microbatches,
        "makespan": plan.makespan,
        "lower_bound": plan.lower_bound,
        "critical_path": {
            "nodes": path.nodes,
            "parts": {part.name.lower(): s for part, s in path.parts.items()},
            "operators": dict(path.work),
            "devices": dict(path.devices),
            "links": [{"from": a, "to": b, "seconds": s} for (a, b), s in path.links.items()],
            "waits": {wait.name.lower(): n for wait, n in path.waits.items()},
        },
        "idle": {device: {c.name.lower(): s for c, s in idle.items()} for device, idle in made.idle.items()},
        "faster": [
            {"what": one.lever.value, "name": one.name, "on_path": one.on_path, "busy": one.busy}
            | {"makespan": one.makespan}
            for one in made.speedups
        ],
        "effort": made.effort,
        "planned_again": None if made.reference is None else _tried(made.reference),
        "changes": [_tried(tried) for tried in (*made.changes, made.balanced)],
        "least_memory": None
        if memory is None
        else {
            "factor": memory.factor,
            "cap": memory.cap,
            "more": memory.more,
            "makespan": memory.makespan,
            "no_shorter_plan_with_factor": memory.without,
            "flags": list(memory.flags),
        },
    }


def _tried(tried: Tried) -> dict[str, Any]:
    return {
        "change": tried.key,
        "title": tried.title,
        "how": "replay" if tried.replayed else "search",
        "microbatches": tried.microbatches,
        "makespan": tried.makespan,
        "lower_bound": tried.bound,
        "per_microbatch": tried.per_microbatch,
        "peak_memory": tried.peak,
        "reason": tried.reason,
        "ended_by_time_limit": tried.cut,
        "flags": list(tried.flags),
    }
