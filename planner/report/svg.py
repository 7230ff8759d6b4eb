"""Plans as one SVG picture: a band per device, its streams as rows, colour by pass, one time axis for all plans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10
from xml.sax.saxutils import escape

from planner.plan.plan import Plan, PlannedExchange, PlannedTask, PlannedTransfer
from planner.report.excerpt import excerpt, excerpt_note
from planner.report.facts import PlanFacts
from planner.report.step import WORDS
from planner.report.words import cut, gap, number, percent, plain, seconds, time_unit

COLORS = {
    "F": ("#3d6fb4", "#86aede"),
    "I": ("#1f8a70", "#74c4ae"),
    "W": ("#e0952f", "#f2c583"),
    "R": ("#6a3d9a", "#a98cc6"),
    "U": ("#8c5a2b", "#c9a27c"),
    "G": ("#c2569b", "#e3a5cd"),
}
PASSES = {"F": "forward", "I": "input gradient", "W": "weight gradient", **WORDS}
TRANSFER, EXCHANGE = "#8a94a0", "#0f7f97"
"""Of the first copy, and of all others. They differ for readers who see no red or green, and in grey."""

INK, FAINT, BAND, LINE = "#1f2933", "#66727f", "#f2f4f7", "#c6ccd4"
FONT = "font-family='Inter, Helvetica, Arial, sans-serif'"
ROW, THIN, GAP = 20.0, 8.0, 6.0  # heights of a compute row, a row of transfers or communication; between bands
HEAD, AXIS, LEGEND, LINE_HEIGHT, MARGIN = 34.0, 34.0, 26.0, 18.0, 14.0
LABELS_AT_MOST = 6000
"""Microbatch numbers in boxes; a picture with more boxes is too dense to read them."""


@dataclass(frozen=True)
class _Box:
    """Tasks of one pass and microbatch that follow each other without a pause: drawn as one."""

    start: float
    end: float
    pass_: str
    microbatch: int | None  # None: once a step
    copy: int
    label: str


def gantt_svg(plans: Plan | Sequence[Plan], titles: Sequence[str] | None = None, width: int = 1200) -> str:
    """One self-contained picture of the plans, one under the other on the same time axis."""
    plans = (plans,) if isinstance(plans, Plan) else tuple(plans)
    titles = tuple(titles) if titles is not None else tuple(_name(plan) for plan in plans)
    notes = tuple(excerpt_note(plan) for plan in plans)
    plans = tuple(map(excerpt, plans))
    until = max((plan.makespan for plan in plans), default=0.0) or 1.0
    names = [plain(device.name) for plan in plans for device in plan.devices]
    left = MARGIN + 10 + 6.6 * max((len(cut(name, 18)) for name in names), default=4)
    scale = (width - left - MARGIN - 8) / until
    body: list[str] = []
    y = MARGIN
    for plan, title, note in zip(plans, titles, notes, strict=True):
        panel = _Panel(plan, title, left, scale, note)
        body.extend(panel.draw(y))
        y += panel.height
    body.extend(_axis(until, left, scale, y))
    y += AXIS
    legend, lines = _legend(plans, left, y, width - MARGIN)
    body.extend(legend)
    y += LEGEND + (lines - 1) * LINE_HEIGHT
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{y:.0f}' viewBox='0 0 {width} {y:.0f}' "
        f"{FONT} font-size='12' fill='{INK}' role='img'>"
    )
    described = f"<title>{xml_text('; '.join(titles))}</title>"
    return "\n".join([head, described, "<rect width='100%' height='100%' fill='#ffffff'/>", *body, "</svg>"]) + "\n"


class _Panel:
    """One plan: its title line, and a band per device."""

    def __init__(self, plan: Plan, title: str, left: float, scale: float, note: str | None) -> None:
        self.plan = plan
        self.note = note  # in place of the figures, if only a part of the plan is drawn
        self.title = title
        self.left = left
        self.scale = scale
        self.facts = PlanFacts(plan)
        self.comm = bool(self.facts.uses_comm)
        self.transfers = any(t.end > t.start for t in _sent(plan))
        self.band = ROW + (THIN + 2 if self.comm else 0) + (THIN if self.transfers else 0)
        self.height = HEAD + len(plan.devices) * (self.band + GAP) + 8

    def draw(self, top: float) -> Iterator[str]:
        """The lines of the panel from ``top`` down."""
        yield (
            f"<text x='{MARGIN}' y='{top + 16:.1f}' font-size='14' font-weight='600'>{xml_text(self.title)}"
            f"<tspan dx='10' font-size='12' font-weight='400' fill='{FAINT}'>{xml_text(self._figures())}</tspan></text>"
        )
        boxes = _boxes(self.plan)
        labelled = sum(map(len, boxes.values())) <= LABELS_AT_MOST
        y = top + HEAD
        wide = self.plan.makespan * self.scale
        paths: dict[str, list[str]] = defaultdict(list)
        labels: list[str] = []
        rows: dict[str, float] = {}
        for device in self.plan.devices:
            rows[device.name] = y
            yield f"<rect x='{self.left:.1f}' y='{y:.1f}' width='{wide:.2f}' height='{self.band:.1f}' fill='{BAND}'/>"
            name = xml_text(cut(plain(device.name), 18))
            yield f"<text x='{self.left - 8:.1f}' y='{y + 14:.1f}' text-anchor='end'>{name}</text>"
            for box in boxes[device.name, "compute"]:
                paths[_color(box)].append(self._rectangle(box.start, box.end, y, ROW))
                if labelled:
                    labels.extend(self._label(box, y))
            for box in boxes[device.name, "comm"]:
                paths[_color(box)].append(self._rectangle(box.start, box.end, y + ROW + 2, THIN))
            y += self.band + GAP
        at = ROW + (THIN + 2 if self.comm else 0) + 2
        for color, sent in ((TRANSFER, self.plan.transfers), (EXCHANGE, self.plan.exchanges)):
            for transfer in sent:
                if transfer.end > transfer.start and transfer.source in rows:
                    path = self._rectangle(transfer.start, transfer.end, rows[transfer.source] + at, THIN - 4)
                    paths[color].append(path)
        for color in sorted(paths):
            yield f"<path fill='{color}' d='{''.join(paths[color])}'/>"
        if labels:
            yield "<g font-size='10' text-anchor='middle'>" + "".join(labels) + "</g>"
        yield from self._marks(top + HEAD - 6, y - GAP + 4)

    def _figures(self) -> str:
        if self.note is not None:
            return self.note
        plan = self.plan
        words = [f"makespan {seconds(plan.makespan)}", f"bubble {percent(plan.bubble_ratio)}"]
        if plan.lower_bound is not None:
            words.append(f"lower bound {seconds(plan.lower_bound)}")
            words.append("optimal" if plan.status == "optimal" else f"gap {gap(plan.gap)}")
        if plan.copies > 1:
            words.append(f"{plan.copies} copies")
        return " · ".join(words)

    def _marks(self, top: float, bottom: float) -> Iterator[str]:
        """Lines at the makespan and at the lower bound."""
        marks = [(self.plan.makespan, INK, "")]
        if self.plan.lower_bound is not None and self.plan.lower_bound < self.plan.makespan:
            marks.append((self.plan.lower_bound, "#b3261e", " stroke-dasharray='4 3'"))
        for at, color, dashes in marks:
            x = self.left + at * self.scale
            yield (
                f"<line x1='{x:.2f}' x2='{x:.2f}' y1='{top:.1f}' y2='{bottom:.1f}' stroke='{color}'"
                f" stroke-width='1.2'{dashes}/>"
            )

    def _rectangle(self, start: float, end: float, y: float, height: float) -> str:
        """A part of a path, slightly narrower than its time, so that neighbours stay apart."""
        wide = (end - start) * self.scale
        shown = max(wide - (0.8 if wide > 3 else 0.15 * wide), 0.05)
        return f"M{self.left + start * self.scale:.2f} {y:.1f}h{shown:.2f}v{height:.0f}h{-shown:.2f}z"

    def _label(self, box: _Box, y: float) -> Iterator[str]:
        text = xml_text(box.label)
        if (box.end - box.start) * self.scale >= 6.2 * len(box.label) + 2:
            x = self.left + (box.start + box.end) / 2 * self.scale
            fill = "#ffffff" if box.copy == 0 and box.pass_ not in "WG" else INK
            yield f"<text x='{x:.1f}' y='{y + 13.6:.1f}' fill='{fill}'>{text}</text>"


def _name(plan: Plan) -> str:
    origin = "planner" if plan.origin == "solve" else plan.origin.removeprefix("baseline:")
    return f"{origin}: {plan.graph.name} on {plan.cluster.name}"


def xml_text(text: str) -> str:
    """Text for XML: printable, with the five special characters escaped."""
    return escape(plain(text), {"'": "&apos;", '"': "&quot;"})


def _color(box: _Box) -> str:
    return COLORS[box.pass_][1 if box.copy else 0]


def _boxes(plan: Plan) -> dict[tuple[str, str], list[_Box]]:
    """The boxes of every device and stream, by time."""
    tolerance = 1e-9 * plan.makespan
    several = plan.microbatches > 1  # with one microbatch (a job shop) each operator is a box with its name
    rows: dict[tuple[str, str], list[_Box]] = defaultdict(list)
    for task in sorted(PlanFacts(plan).tasks, key=lambda t: (t.start, t.end)):
        if task.end <= task.start:
            continue
        row = rows[task.device, task.stream]
        microbatch = task.microbatch if isinstance(task, PlannedTask) else None
        number_ = task.pass_ if microbatch is None else str(microbatch)
        label = number_ if several else plain(task.operator)
        box = _Box(task.start, task.end, task.pass_, microbatch, task.copy, label)
        if several and row and _follows(row[-1], box, tolerance):
            row[-1] = replace(box, start=row[-1].start)
        else:
            row.append(box)
    return rows


def _follows(last: _Box, box: _Box, tolerance: float) -> bool:
    same = (last.pass_, last.microbatch, last.copy) == (box.pass_, box.microbatch, box.copy)
    return same and abs(box.start - last.end) <= tolerance


def _axis(until: float, left: float, scale: float, y: float) -> Iterator[str]:
    """Ticks at round numbers."""
    each, unit = time_unit(until)
    rough = until / 10
    power = 10.0 ** floor(log10(rough))
    tick = next((m * power for m in (1, 2, 5) if m * power >= rough), 10 * power)
    yield f"<g stroke='{LINE}'><line x1='{left:.1f}' x2='{left + until * scale:.1f}' y1='{y:.1f}' y2='{y:.1f}'/></g>"
    yield f"<g font-size='11' fill='{FAINT}' text-anchor='middle'>"
    for k in range(ceil(until / tick * (1 + 1e-9)) + 1):
        if k * tick <= until * (1 + 1e-9):
            x = left + k * tick * scale
            yield f"<path d='M{x:.2f} {y:.1f}v5' stroke='{LINE}'/>"
            yield f"<text x='{x:.1f}' y='{y + 18:.1f}'>{number(k * tick / each, 4)} {unit}</text>"
    yield "</g>"


def _sent(plan: Plan) -> tuple[PlannedTransfer | PlannedExchange, ...]:
    return (*plan.transfers, *plan.exchanges)


def _legend(plans: Sequence[Plan], left: float, y: float, right: float) -> tuple[list[str], int]:
    """The meaning of the colours that occur, and the lines that it takes."""
    passes = {task.pass_ for plan in plans for task in PlanFacts(plan).tasks}
    copies = any(task.copy for plan in plans for task in plan.tasks)
    entries = [((COLORS[p][0], COLORS[p][1] if copies else ""), words) for p, words in PASSES.items() if p in passes]
    if any(t.end > t.start for plan in plans for t in plan.transfers):
        entries.append(((TRANSFER, ""), "transfer, at the sending device"))
    if any(t.end > t.start for plan in plans for t in plan.exchanges):
        entries.append(((EXCHANGE, ""), "gradients sent to another copy"))
    x, lines, made = left, 1, list[str]()
    for (first, second), word in entries:
        if x > left and x + 16 + 6.4 * len(word) > right:
            x, y, lines = left, y + LINE_HEIGHT, lines + 1
        made.append(f"<rect x='{x:.1f}' y='{y:.1f}' width='11' height='11' fill='{first}'/>")
        if second:
            x += 12
            made.append(f"<rect x='{x:.1f}' y='{y:.1f}' width='11' height='11' fill='{second}'/>")
        made.append(f"<text x='{x + 16:.1f}' y='{y + 10:.1f}'>{word}</text>")
        x += 30 + 6.4 * len(word)
    notes = ["light: copy 1" + (" and above" if any(plan.copies > 2 for plan in plans) else "") if copies else ""]
    if any(PlanFacts(plan).uses_comm for plan in plans):
        notes.append("thin row: communication stream")
    if any(plan.lower_bound is not None and plan.lower_bound < plan.makespan for plan in plans):
        notes.append("dashed: lower bound")
    text = " · ".join(filter(None, notes))
    if x + 5.6 * len(text) > right:
        x, y, lines = left, y + LINE_HEIGHT, lines + 1
    made.append(f"<text x='{x:.1f}' y='{y + 10:.1f}' fill='{FAINT}'>{text}</text>")
    return made, lines
