"""The frontier of memory and time as one SVG picture: a panel for each number of microbatches, a line for each choice.

A line goes through the points that differ in the memory cap alone: makespan over cap, and dashed its lower bound.
Baselines are marks where they really are: at the memory that they need.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from planner.report.facts import PlanFacts
from planner.report.svg import COLORS, FAINT, FONT, INK, LINE, xml_text
from planner.report.words import gap, number, percent, seconds, size, size_unit, time_unit
from planner.sweeping.rows import Row, axes, in_words

WIDTH, HEIGHT = 440.0, 290.0  # of the axes of a panel
LEFT, RIGHT, ABOVE, BELOW = 62.0, 28.0, 46.0, 64.0  # around them
TITLE, ENTRY = 54.0, 20.0  # heights of title and subtitle, and of a line of the legend
PER_ROW = 2
BOUND_DASHES = "4 4"
THICK, MORE = 2.5, 2.5  # widths: of the uppermost line, and by which one below is wider
CLOSE = 8.0
MARK = "#7b8794"  # of baselines
FARTHEST = 1.3
"""A baseline that takes so many times the longest step, or the largest memory, of the lines is named below them."""

PALETTE = tuple(COLORS[name][0] for name in ("F", "W", "I", "R", "G", "U"))
"""Of lines; those of a schedule, chosen to differ for readers who see no red or green."""


@dataclass(frozen=True)
class Spot:
    """A point of a line: bytes and seconds, its bound, and the row that it stands for."""

    memory: float
    makespan: float
    bound: float | None
    row: Row


@dataclass
class Panel:
    """The lines of one number of microbatches, by name, and baselines: (name, bytes, seconds)."""

    title: str
    lines: dict[str, list[Spot]] = field(default_factory=dict)
    baselines: dict[tuple[str, float, float], None] = field(default_factory=dict)


def panels_of(rows: Sequence[Row]) -> list[Panel]:
    """What is drawn of the rows that have a plan."""
    varying = [name for name in axes([row.point for row in rows]) if name not in ("memory_cap", "microbatches")]
    capped = "memory_cap" in axes([row.point for row in rows])
    found: dict[int, Panel] = {}
    for row in rows:
        if row.plan is None or row.point.problem is None:
            continue
        panel = found.setdefault(row.plan.microbatches, Panel(f"{row.plan.microbatches} microbatches"))
        flags = row.point.all_flags
        name = ", ".join(in_words(each, flags.get(each)) for each in varying) or "planner"
        cap = float(row.point.problem.cap.min())
        memory = cap if capped and math.isfinite(cap) else PlanFacts(row.plan).peak_memory
        spot = Spot(memory, row.plan.makespan, row.plan.lower_bound, row)
        panel.lines.setdefault(name, []).append(spot)
        for each in row.plan.baselines:
            if each.makespan is not None and each.peak_memory is not None:
                panel.baselines[each.name, each.peak_memory, each.makespan] = None
    for panel in found.values():
        for line in panel.lines.values():
            line.sort(key=lambda spot: (spot.memory, spot.makespan))
    return [found[k] for k in sorted(found)]


def frontier_svg(rows: Sequence[Row], links: Mapping[str, str] | None = None) -> str:
    """The picture; with ``links`` for a page that shows hints itself: by name of a row, where its mark leads to."""
    panels = panels_of(rows)
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colors = {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(names)}
    across = max(1, min(PER_ROW, len(panels)))
    legend = _legend(names, colors, across * (LEFT + WIDTH + RIGHT))
    top = TITLE + ENTRY * legend[1]
    width = across * (LEFT + WIDTH + RIGHT)
    height = top + math.ceil(len(panels) / across) * (ABOVE + HEIGHT + BELOW)
    problem = next((row.point.problem for row in rows if row.point.problem is not None), None)
    what = "no plan" if problem is None else f"{problem.graph.name} on {problem.cluster.name}"
    capped = "memory_cap" in axes([row.point for row in rows])
    of = "memory cap of a device" if capped else "peak memory of the fullest device"
    body = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' "
        f"viewBox='0 0 {width:.0f} {height:.0f}' {FONT} font-size='12' fill='{INK}' role='img'>",
        f"<title>{xml_text(f'Makespan over memory: {what}')}</title><rect width='100%' height='100%' fill='#ffffff'/>",
        f"<text x='14' y='24' font-size='15' font-weight='600'>{xml_text(what)}</text>",
        f"<text x='14' y='42' fill='{FAINT}'>Time of a step over the {of}</text>",
        *legend[0],
    ]
    for k, panel in enumerate(panels):
        x = (k % across) * (LEFT + WIDTH + RIGHT) + LEFT
        y = top + (k // across) * (ABOVE + HEIGHT + BELOW) + ABOVE
        body += _Axes(panel, x, y, colors, of, links).draw()
    return "\n".join([*body, "</svg>"]) + "\n"


def hint(row: Row) -> str:
    """The figures of a row, for a reader who points at its mark."""
    plan = row.plan
    if plan is None:
        return f"{row.status}: {row.reason}"
    words = [
        f"makespan {seconds(plan.makespan)}",
        f"bound {seconds(plan.lower_bound)}",
        plan.status if plan.status == "optimal" else f"gap {gap(plan.gap)}",
        f"bubble {percent(plan.bubble_ratio)}",
        f"peak {size(PlanFacts(plan).peak_memory)}",
    ]
    best = row.best_baseline
    return ", ".join([*words, *([] if best is None else [f"{best.name} {seconds(best.makespan)}"])])


def _legend(names: Sequence[str], colors: Mapping[str, str], width: float) -> tuple[list[str], int]:
    """What the marks and lines mean, and how many lines that takes."""
    made: list[str] = []
    x, line = 14.0, 0
    entries = [(name, colors[name], "line") for name in names]
    entries += [("lower bound", FAINT, "bound"), ("baseline, at the memory that it needs", MARK, "mark")]
    for name, color, kind in entries:
        wide = 36 + 6.6 * len(name)
        if x > 14 and x + wide > width:
            x, line = 14.0, line + 1
        y = TITLE + 8 + ENTRY * line
        if kind == "mark":
            made.append(_diamond(x + 11, y, color))
        else:
            dashes = f" stroke-dasharray='{BOUND_DASHES}'" if kind == "bound" else ""
            thick = 2.5 if kind == "line" else 1.3
            made.append(f"<path d='M{x:.1f} {y:.1f}h22' stroke='{color}' stroke-width='{thick}'{dashes}/>")
        made.append(f"<text x='{x + 28:.1f}' y='{y + 4:.1f}'>{xml_text(name)}</text>")
        x += wide + 16
    return made, line + 1


class _Axes:
    """One panel: its axes, lines and marks."""

    def __init__(
        self, panel: Panel, x: float, y: float, colors: Mapping[str, str], of: str, links: Mapping[str, str] | None
    ) -> None:
        self.panel, self.x, self.y, self.colors, self.of, self.links = panel, x, y, colors, of, links
        spots = [spot for line in panel.lines.values() for spot in line]
        longest, largest = max(s.makespan for s in spots), max(s.memory for s in spots)
        self.shown = [
            b for b in panel.baselines if b[2] <= longest * FARTHEST and (b[1] <= largest * FARTHEST or largest == 0)
        ]
        self.others = [b for b in panel.baselines if b not in self.shown]
        memory = [s.memory for s in spots] + [b[1] for b in self.shown]
        times = [s.makespan for s in spots] + [b[2] for b in self.shown] + [s.bound for s in spots if s.bound]
        self.unit, self.bytes = time_unit(max(times)), size_unit(max(memory))
        self.times = _ticks(min(times) / self.unit[0], max(times) / self.unit[0])
        caps = sorted({round(s.memory / self.bytes[0], 6) for s in spots})
        self.sizes = _ticks(min(memory) / self.bytes[0], max(memory) / self.bytes[0])
        if 1 < len(caps) <= 8 and "cap" in of:
            self.marked = caps
        else:
            self.marked = self.sizes

    def at(self, memory: float, time: float) -> tuple[float, float]:
        """Pixels of bytes and seconds."""
        low, high = self.sizes[0], self.sizes[-1]
        bottom, top = self.times[0], self.times[-1]
        x = self.x + WIDTH * (memory / self.bytes[0] - low) / (high - low)
        return x, self.y + HEIGHT * (top - time / self.unit[0]) / (top - bottom)

    def draw(self) -> Iterator[str]:
        """The elements, from the back to the front."""
        yield (
            f"<text x='{self.x:.1f}' y='{self.y - 22:.1f}' font-size='13' font-weight='600'>"
            f"{xml_text(self.panel.title)}</text>"
        )
        yield from self._grid()
        yield from self._bounds()
        taken = [at for line in self.panel.lines.values() for at in self._along(line)]
        yield from self._baselines(taken)
        yield from self._lines()
        if self.others:
            some = sorted(self.others, key=lambda b: b[2])
            words = [f"{name} {seconds(time, 3)} at {size(memory, 3)}" for name, memory, time in some[:3]]
            more = f" and {len(some) - 3} more" if len(some) > 3 else ""
            yield (
                f"<text x='{self.x:.1f}' y='{self.y + HEIGHT + 54:.1f}' font-size='11' fill='{FAINT}'>"
                f"{xml_text('beyond: ' + ', '.join(words) + more)}</text>"
            )

    def _grid(self) -> Iterator[str]:
        yield f"<g stroke='{LINE}' stroke-width='0.6'>"
        for value in self.times:
            y = self.at(0.0, value * self.unit[0])[1]
            yield f"<path d='M{self.x:.1f} {y:.1f}h{WIDTH:.0f}'/>"
        for value in self.marked:
            x = self.at(value * self.bytes[0], self.times[0] * self.unit[0])[0]
            yield f"<path d='M{x:.1f} {self.y:.1f}v{HEIGHT:.0f}'/>"
        yield f"</g><g font-size='11' fill='{FAINT}'>"
        for value in self.times:
            y = self.at(0.0, value * self.unit[0])[1]
            yield f"<text x='{self.x - 7:.1f}' y='{y + 4:.1f}' text-anchor='end'>{number(value, 6)}</text>"
        for value in self.marked:
            x = self.at(value * self.bytes[0], self.times[0] * self.unit[0])[0]
            yield f"<text x='{x:.1f}' y='{self.y + HEIGHT + 16:.1f}' text-anchor='middle'>{number(value)}</text>"
        yield "</g>"
        yield (
            f"<text x='{self.x - 40:.1f}' y='{self.y - 8:.1f}' font-size='11' fill='{FAINT}'>"
            f"makespan, {self.unit[1]}</text>"
        )
        yield (
            f"<text x='{self.x + WIDTH / 2:.1f}' y='{self.y + HEIGHT + 34:.1f}' font-size='11' fill='{FAINT}' "
            f"text-anchor='middle'>{xml_text(self.of)}, {self.bytes[1]}</text>"
        )

    def _bounds(self) -> Iterator[str]:
        for name, line in self.panel.lines.items():
            path = [self.at(s.memory, s.bound) for s in line if s.bound is not None]
            color = self.colors[name]
            if len(path) > 1:
                yield (
                    f"<path d='M{_path(path)}' fill='none' stroke='{color}' stroke-width='1.3' opacity='0.6' "
                    f"stroke-dasharray='{BOUND_DASHES}'/>"
                )
            for x, y in path:
                yield f"<path d='M{x - 5:.1f} {y:.1f}h10' stroke='{color}' stroke-width='1.3' opacity='0.6'/>"

    def _along(self, line: Sequence[Spot]) -> Iterator[tuple[float, float]]:
        """Places along a line and its bounds, close enough together that no name of a baseline fits between them."""
        for path in (
            [(s.memory, s.makespan) for s in line],
            [(s.memory, s.bound) for s in line if s.bound is not None],
        ):
            at = [self.at(*each) for each in path]
            yield from at[:1]
            for (x0, y0), (x1, y1) in pairwise(at):
                steps = max(1, math.ceil(math.hypot(x1 - x0, y1 - y0) / CLOSE))
                yield from ((x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps) for k in range(1, steps + 1))

    def _lines(self) -> Iterator[str]:
        for k, (name, line) in enumerate(self.panel.lines.items()):
            path = [self.at(s.memory, s.makespan) for s in line]
            color = self.colors[name]
            under = len(self.panel.lines) - 1 - k  # lines drawn over it: it is wider, so that it shows where they agree
            wide = THICK + MORE * under
            yield f"<path d='M{_path(path)}' fill='none' stroke='{color}' stroke-width='{wide:g}'/>"
            for spot, (x, y) in zip(line, path, strict=True):
                words = f"{name}, {size(spot.memory)}: {hint(spot.row)}"
                yield self._spot(words, spot.row.name, (x, y), 4.5 + MORE / 2 * under, color)

    def _spot(self, words: str, name: str, at: tuple[float, float], radius: float, color: str) -> str:
        circle = f"<circle cx='{at[0]:.1f}' cy='{at[1]:.1f}' r='{radius:g}' fill='{color}'"
        if self.links is None:
            return f"{circle}><title>{xml_text(words)}</title></circle>"
        marked = f"{circle} data-row='{xml_text(name)}' data-hint='{xml_text(words)}'/>"
        link = self.links.get(name)
        return marked if link is None else f"<a href='{xml_text(link)}' aria-label='{xml_text(words)}'>{marked}</a>"

    def _baselines(self, taken: list[tuple[float, float]]) -> Iterator[str]:
        marks = [(name, *self.at(memory, time), memory, time) for name, memory, time in self.shown]
        boxes = [(x - 5, y - 5, x + 5, y + 5) for x, y in taken] + [
            (x - 5, y - 5, x + 5, y + 5) for _, x, y, *_ in marks
        ]
        for name, x, y, memory, time in sorted(marks, key=lambda mark: mark[2]):
            words = xml_text(f"{name}: {seconds(time)}, needs {size(memory)}")
            shape = _diamond(x, y, MARK, f" data-hint='{words}'" if self.links is not None else "", words)
            yield shape
            wide = 5.6 * len(name)
            choices = [(x + 8, y + 4), (x - 8 - wide, y + 4), (x - wide / 2, y - 8), (x - wide / 2, y + 16)]
            choices += [(x + 6, y - 8), (x - 6 - wide, y - 8), (x + 6, y + 16), (x - 6 - wide, y + 16), (x + 6, y - 20)]
            inside = [c for c in choices if self.x <= c[0] and c[0] + wide <= self.x + WIDTH + RIGHT]
            free = (c for c in inside if not any(_overlaps(_box(c, wide), box) for box in boxes))
            chosen = next(free, None)
            if chosen is None:
                continue  # its name stands in the hint
            boxes.append(_box(chosen, wide))
            yield f"<text x='{chosen[0]:.1f}' y='{chosen[1]:.1f}' font-size='11' fill='{FAINT}'>{xml_text(name)}</text>"


def _box(at: tuple[float, float], wide: float) -> tuple[float, float, float, float]:
    return at[0], at[1] - 9, at[0] + wide, at[1] + 2


def _overlaps(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _diamond(x: float, y: float, color: str, attributes: str = "", words: str = "") -> str:
    inside = f"><title>{words}</title></path>" if words and not attributes else "/>"
    return f"<path d='M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z' fill='{color}'{attributes}{inside}"


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from below ``low`` to above ``high``, some five of them."""
    span = high - low if high > low else max(abs(high), 1.0)
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((m * power for m in (1, 2, 5) if m * power >= rough), 10 * power)
    first, last = math.floor(low / step), math.ceil(high / step)
    if last == first:
        first, last = first - 1, last + 1
    return [round(k * step, 12) for k in range(first, last + 1)]
