"""sweep.html: picture and table of a sweep, with hints, and links to the page of each plan. It loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence
from importlib.resources import files
from urllib.parse import quote

from planner.report.facts import PlanFacts
from planner.report.html.tables import text
from planner.report.words import gap, percent, seconds, size
from planner.sweeping.frontier import frontier_svg
from planner.sweeping.rows import Row, axes, value_in_words


def sweep_html(rows: Sequence[Row], drawn: Collection[str], interrupted: bool = False) -> str:
    """The page. ``drawn``: the names of rows whose plan has a page beside it, in plans/."""
    links = {row.name: f"plans/{quote(row.name)}.html" for row in rows if row.name in drawn}
    script = files("planner.sweeping").joinpath("sweep.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    problem = next((row.point.problem for row in rows if row.point.problem is not None), None)
    what = "Sweep" if problem is None else f"Sweep: {problem.graph.name} on {problem.cluster.name}"
    with_plan = sum(row.plan is not None for row in rows)
    counted = f"{len(rows)} points, {with_plan} with a plan" + (", interrupted" if interrupted else "")
    parts = {
        "title": text(what),
        "policy": policy,
        "style": files("planner.report.html").joinpath("report.css").read_text(encoding="utf-8"),
        "counted": counted,
        "picture": frontier_svg(rows, links),
        "table": _table(rows, links),
        "script": script,
    }
    page = files("planner.sweeping").joinpath("sweep.html").read_text(encoding="utf-8")
    return "".join(parts[part[1:]] if part[:1] == "@" else part for part in page.split("%%"))


def _table(rows: Sequence[Row], links: dict[str, str]) -> str:
    varying = list(axes([row.point for row in rows]))
    thresholds = any(row.met is not None for row in rows)
    heads = [name.replace("_", " ") for name in varying] or ["point"]
    figures = [
        "makespan",
        "bound",
        "gap",
        "bubble",
        "peak memory",
        "best baseline",
        "its makespan",
        "status",
        "seconds",
    ]
    head = "".join(f"<th>{text(name)}</th>" for name in (*heads, *figures, *(["met"] if thresholds else []), "plan"))
    body = "".join(_row(row, varying, links, thresholds) for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: Row, varying: Sequence[str], links: dict[str, str], thresholds: bool) -> str:
    flags, plan, best = row.point.all_flags, row.plan, row.best_baseline
    cells = [value_in_words(name, flags.get(name)) for name in varying] or ["the only one"]
    took = "-" if row.seconds is None else f"{row.seconds:.1f}"
    met = ["-" if row.met is None else "yes" if row.met else "no"] if thresholds else []
    shown = "".join(f"<td>{text(cell)}</td>" for cell in cells)
    if plan is None:
        shown += f"<td class='names' colspan='7'>{text(row.reason, 300)}</td>"
        shown += "".join(f"<td>{text(cell)}</td>" for cell in (row.status, took, *met, "-"))
        return f"<tr>{shown}</tr>"
    baseline = ("-", "-") if best is None else (best.name, seconds(best.makespan))
    figures = [seconds(plan.makespan), seconds(plan.lower_bound), gap(plan.gap), percent(plan.bubble_ratio)]
    figures += [size(PlanFacts(plan).peak_memory), *baseline, row.status, took, *met]
    shown += "".join(f"<td>{text(cell)}</td>" for cell in figures)
    page = links.get(row.name)
    report = "" if page is None else f"<a href='{text(page)}'>report</a> "
    shown += f"<td>{report}<a href='plans/{quote(row.name)}.json'>json</a></td>"
    return f"<tr data-row='{text(row.name)}'>{shown}</tr>"
