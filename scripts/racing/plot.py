"""Incumbents and bounds over time as SVG, with a small panel for each case."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

from racing.general import GROUPS
from racing.measure import best

RACERS = (
    ("bigm", "big-M in HiGHS", "#9aa5b1"),
    ("cpsat-ordered", "CP-SAT, microbatches in order", "#8e4fa8"),
    ("cpsat", "CP-SAT", "#d9730d"),
    ("ours", "planner", "#2f62ad"),
)
"""Drawn in this order, ours on top."""

COLUMNS, WIDTH, HEIGHT, GAP_X, GAP_Y, LEFT, TOP = 5, 196, 112, 30, 44, 46, 92
SOONEST = 0.3  # seconds: the beginning of the time axis
LOWEST, HIGHEST = 0.75, 1.25  # x the best known makespan: the limits of the other axis
INK, FAINT, GRID = "#1f2933", "#66727f", "#dde2e8"


def plot(results: dict[str, Any]) -> str:
    """The picture of all cases but the general problems: those are small and many."""
    shown = (case for case in results["cases"].values() if case["group"] not in GROUPS)
    cases = [case for case in shown if any(map(best, case["runs"].values()))]
    rows = math.ceil(len(cases) / COLUMNS)
    width = LEFT + COLUMNS * (WIDTH + GAP_X)
    height = TOP + rows * (HEIGHT + GAP_Y) + 10
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' "
        f"font-family='Inter, Helvetica, Arial, sans-serif' font-size='11' fill='{INK}'>",
        f"<rect width='{width}' height='{height}' fill='white'/>",
        "<text x='14' y='24' font-size='15' font-weight='600'>Best plan and bound over time</text>",
        f"<text x='14' y='42' fill='{FAINT}'>Makespan as a multiple of the best that any of them found, over seconds "
        "since the process was started. Solid: best plan. Dashed: bound,</text>",
        f"<text x='14' y='56' fill='{FAINT}'>not drawn below the panel; those of rivals hold for the placement that "
        "they are given only.</text>",
        *legend(cases),
    ]
    for k, case in enumerate(cases):
        x, y = LEFT + k % COLUMNS * (WIDTH + GAP_X), TOP + 16 + k // COLUMNS * (HEIGHT + GAP_Y)
        parts += panel(case, x, y)
    return "\n".join([*parts, "</svg>\n"])


def legend(cases: list[dict[str, Any]]) -> Iterator[str]:
    """A line and a name for each racer that ran."""
    x, ran = 14, {name for case in cases for name in case["runs"]}
    for name, words, color in reversed(RACERS):
        if name in ran:
            yield f"<path d='M{x} 72h22' stroke='{color}' stroke-width='2' fill='none'/>"
            yield f"<text x='{x + 28}' y='76'>{words}</text>"
            x += 58 + 6 * len(words)
    if "heuristics" in ran:
        yield f"<path d='M{x} 72h22' stroke='{INK}' stroke-dasharray='1 3' fill='none'/>"
        yield f"<text x='{x + 28}' y='76'>heuristics alone</text>"


def panel(case: dict[str, Any], x: int, y: int) -> Iterator[str]:
    """One case."""
    runs = case["runs"]
    unit = min(value for run in runs.values() if (value := best(run)) is not None)
    last = max(run["limit"] for run in runs.values())

    def across(t: float) -> float:
        return x + WIDTH * math.log(min(max(t, SOONEST), last) / SOONEST) / math.log(last / SOONEST)

    def up(value: float) -> float:
        part = (min(max(value / unit, LOWEST), HIGHEST) - LOWEST) / (HIGHEST - LOWEST)
        return y + HEIGHT * (1 - part)

    yield f"<text x='{x}' y='{y - 6}' font-weight='600'>{escape(case['name'])}</text>"
    for level in (0.8, 0.9, 1.0, 1.1, 1.2):
        at = up(level * unit)
        yield f"<path d='M{x} {at:.1f}h{WIDTH}' stroke='{FAINT if level == 1 else GRID}' stroke-width='.6'/>"
        yield f"<text x='{x - 5}' y='{at + 3:.1f}' text-anchor='end' font-size='9' fill='{FAINT}'>{level:g}</text>"
    for t in (1, 10, last):
        if t > last or (t != last and last / t < 2):
            continue
        yield f"<path d='M{across(t):.1f} {y}v{HEIGHT}' stroke='{GRID}' stroke-width='.6'/>"
        yield (
            f"<text x='{across(t):.1f}' y='{y + HEIGHT + 12}' text-anchor='middle' font-size='9' "
            f"fill='{FAINT}'>{t:g} s</text>"
        )
    heuristic = best(runs.get("heuristics"))
    if heuristic is not None and heuristic / unit < HIGHEST:
        yield f"<path d='M{x} {up(heuristic):.1f}h{WIDTH}' stroke='{INK}' stroke-dasharray='1 3' fill='none'/>"
    for name, _, color in RACERS:
        if name not in runs:
            continue
        for curve, style in (
            (runs[name]["incumbents"], "stroke-width='2'"),
            (runs[name]["bounds"], "stroke-dasharray='5 3'"),
        ):
            shown = [(t, v) for t, v in curve if v / unit > LOWEST]
            if shown:
                d = f"M{across(shown[0][0]):.1f} {up(shown[0][1]):.1f}"
                d += "".join(f"H{across(t):.1f}V{up(v):.1f}" for t, v in shown[1:])
                yield f"<path d='{d}H{across(last):.1f}' stroke='{color}' fill='none' {style}/>"
