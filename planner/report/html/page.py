"""The page: one file with its style, its script and its data.

What it is made of is public: the page of a strategy has the same sections about its plan.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from planner.plan.plan import Plan
from planner.problem import Problem
from planner.report.excerpt import excerpt, excerpt_note
from planner.report.facts import PlanFacts
from planner.report.html.data import CAUSES, PlanDrawing
from planner.report.html.kept import BYTES_AT_MOST, FEWEST_TASKS, TASKS_AT_MOST
from planner.report.html.packed import packed
from planner.report.html.tables import (
    IDLE_CLASSES,
    baseline_table,
    device_table,
    inputs_table,
    peak_table,
    text,
    tiles,
)
from planner.report.step import WORDS
from planner.report.words import percent, seconds

BASE = ("data.js", "view.js", "theme.js")
"""Scripts that every page begins with: the data, colours and words, light and dark."""

CHARTS = ("chart.js", "gantt.js", "memory.js", "main.js")
"""Scripts of the sections about plans. They stand after ``BASE`` in the page, as one script."""


@dataclass(frozen=True)
class Shown:
    """A plan to show, under a title; ``problem``, where it is known, is one that the plan is valid for."""

    plan: Plan
    title: str
    problem: Problem | None = None

    def drawing(self) -> PlanDrawing:
        """What is drawn of the plan: an excerpt where a part of it is repeated, with a note after the title."""
        note, problem, drawn = excerpt_note(self.plan), self.problem, excerpt(self.plan)
        if problem is not None and note is not None:
            problem = problem.with_microbatches(drawn.microbatches)
        return PlanDrawing(drawn, self.title if note is None else f"{self.title} ({note})", problem)


def report_html(shown: Shown, baselines: Sequence[Shown] = (), explained: str = "") -> str:
    """The page of a plan, with whole plans of baselines under it on the same time axis.

    ``explained``: further sections as HTML, after that of the devices.
    """
    drawings = [each.drawing() for each in (shown, *baselines)]
    documents, data = page_data(drawings)
    plan, facts = shown.plan, PlanFacts(shown.plan)
    name = f"{_origin(plan)} of {plan.graph.name} on {plan.cluster.name}"
    script = whole_script(asset(each) for each in (*BASE, *CHARTS))
    parts = {
        "title": text(name),
        "policy": policy(script),
        "style": asset("report.css"),
        "tiles": tiles(plan, facts),
        "schedules": schedules(drawings, documents),
        "memory": memory(drawings),
        "devices": "".join(_devices(k, drawing) for k, drawing in enumerate(drawings)),
        "explained": explained,
        "baselines": baseline_table(plan, facts),
        "inputs": inputs_table(plan),
        "version": text(plan.planner_version),
        "data": data,
        "script": script,
    }
    return filled(asset("report.html"), parts)


def asset(name: str, package: str = "planner.report.html") -> str:
    """The text of a file that comes with a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def filled(template: str, parts: Mapping[str, str]) -> str:
    """A template with its ``%%@name%%`` replaced."""
    return "".join(parts[part[1:]] if part[:1] == "@" else part for part in template.split("%%"))


def whole_script(texts: Iterable[str]) -> str:
    """Scripts as one, with names of their own."""
    return f'"use strict";\n(async () => {{\n{"".join(texts)}}})();\n'


def page_data(drawings: Sequence[PlanDrawing], **more: object) -> tuple[list[dict[str, Any]], str]:
    """The plans as documents, and packed with ``more``.

    With fewer tasks, where those that the limit allows take too many bytes.
    """
    most = TASKS_AT_MOST // max(1, len(drawings))
    while True:
        documents = [drawing.document(most) for drawing in drawings]
        causes = CAUSES[: max((drawing.causes() for drawing in drawings), default=0)]
        data = packed({"causes": [cause.value for cause in causes], "plans": documents, **more})
        if len(data) <= BYTES_AT_MOST or most < FEWEST_TASKS:
            return documents, data
        most = min(most, max((len(d["tasks"]["gap"]) for d in documents), default=0)) // 2


def policy(script: str) -> str:
    """The policy: only this script runs, and nothing is loaded. Names in files stay text."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"


def _origin(plan: Plan) -> str:
    return "plan" if plan.origin == "solve" else plan.origin.replace(":", " ", 1)


def schedules(drawings: Sequence[PlanDrawing], documents: Sequence[Mapping[str, Any]]) -> str:
    """Toolbar, legend and charts of the plans over time."""
    parts = {
        "legend": _legend(drawings),
        "other": "operator" if drawings[0].plan.microbatches == 1 else "microbatch",
        "charts": "".join(
            _schedule(k, drawing, document["leftOut"])
            for k, (drawing, document) in enumerate(zip(drawings, documents, strict=True))
        ),
        "exact": text(_exactness(drawings)),
    }
    return filled(asset("schedule.html"), parts)


def _legend(drawings: Sequence[PlanDrawing]) -> str:
    """What the colours of the bars mean; microbatches have a scale of their own, which the script draws."""
    passes = {task.pass_ for drawing in drawings for task in PlanFacts(drawing.plan).tasks}
    copies = any(task.copy for drawing in drawings for task in drawing.plan.tasks)
    words = {"F": "forward", "I": "input gradient", "W": "weight gradient"}
    keys = [f"<span class='key pass'><i class='{p}'></i>{words[p]}</span>" for p in "FIW" if p in passes]
    if copies:
        keys.append("<span class='key pass'><i class='F second'></i>light: copy 1 and above</span>")
    what = "operator" if drawings[0].plan.microbatches == 1 else "microbatch"
    keys.append(f"<span class='key microbatch'><i class='scale'></i>{what}, first to last</span>")
    keys += [f"<span class='key'><i class='{p}'></i>{WORDS[p]}</span>" for p in WORDS if p in passes]
    if any(drawing.plan.exchanges for drawing in drawings):
        keys.append("<span class='key'><i class='sent'></i>gradients sent to another copy</span>")
    if any(PlanFacts(drawing.plan).uses_comm for drawing in drawings):
        keys.append("<span class='key'><i class='rows'></i>thick row: compute stream; thin row: communication</span>")
    keys.append("<span class='key phase'><i class='warm-up'></i>warm-up</span>")
    keys.append("<span class='key phase'><i class='steady'></i>steady window</span>")
    causes = {idle.cause for drawing in drawings for idle in drawing.idle}
    for cause, name in zip(CAUSES, IDLE_CLASSES, strict=True):
        if cause in causes:
            keys.append(f"<span class='key idle'><i class='{name}'></i>{text(cause.value)}</span>")
    return "".join(keys)


def _schedule(k: int, drawing: PlanDrawing, gone: Mapping[str, Any] | None) -> str:
    plan = drawing.plan
    figures = f"makespan {seconds(plan.makespan)}, bubble {percent(plan.bubble_ratio)}"
    label = f"{drawing.title}: {figures}. Arrow keys move, plus and minus zoom, 0 shows all."
    return (
        f"<h3>{text(drawing.title)} <small>{text(figures)}</small></h3>"
        f"<canvas id='gantt-{k}' tabindex='0' role='img' aria-label='{text(label)}'></canvas>{_left_out(gone)}"
    )


def _left_out(gone: Mapping[str, Any] | None) -> str:
    if gone is None:
        return ""
    since, until = seconds(gone["start"]), seconds(gone["end"])
    return (
        f"<p class='note'>Too many tasks for one page: the charts leave out {gone['tasks']:,} of them, from {since} to "
        f"{until} (hatched). Figures and tables count all.</p>"
    )


def _exactness(drawings: Sequence[PlanDrawing]) -> str:
    if all(drawing.events.exact for drawing in drawings):
        return "Causes and critical path follow from graph and cluster."
    return (
        "Causes and critical path are read off the times in the plan alone: a pass is assumed to wait for what ends "
        "just before it in its microbatch. With --graph and --cluster they are exact."
    )


def memory(drawings: Sequence[PlanDrawing]) -> str:
    """Charts of memory over time, with what each device holds at its peak."""
    with_memory = [k for k, drawing in enumerate(drawings) if drawing.memory]
    if not with_memory and any(drawing.memory is not None for drawing in drawings):
        return "<p>No operator of this graph holds memory.</p>"
    if not with_memory:
        return (
            "<p>The plan holds only the peaks (see the table above). Memory over time needs graph and "
            "cluster: <code>planner show PLAN --html FILE --graph GRAPH --cluster CLUSTER</code>.</p>"
        )
    return "".join(
        f"<h3>{text(drawings[k].title)}</h3><canvas id='memory-{k}' tabindex='0' role='img' "
        f"aria-label='memory over time: {text(drawings[k].title)}'></canvas>{_peaks(k, drawings[k])}"
        for k in with_memory
    ) + (
        "<p class='note'>Grey: parameters. Colours: activations, one colour per stage (a run of operators that follow "
        "each other on the device), the first one lowest; the table and the tooltips name them. Dashed: the cap. Where "
        "the fullest device uses less than half of its cap, all bands end at the same part of it (dotted). A band that "
        "stays below a sixth of that is magnified (\u00d72, \u00d74, ...); the words above it name its scale.</p>"
    )


def _peaks(k: int, drawing: PlanDrawing) -> str:
    opened = " open" if k == 0 else ""
    summary = f"<summary>what each device holds at its peak: {text(drawing.title)}</summary>"
    return f"<details{opened}>{summary}{peak_table(drawing.memory or [])}</details>"


def _devices(k: int, drawing: PlanDrawing) -> str:
    table = device_table(drawing, PlanFacts(drawing.plan))
    if k == 0:
        return table
    return f"<details><summary>{text(drawing.title)}</summary>{table}</details>"
