"""Predicted over measured seconds as SVG, both on a logarithmic scale; beside it the one-line model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from measured_steps.metrics import Pairs

SIDE, LEFT, TOP, BOTTOM, GAP, LEGEND = 330, 62, 66, 48, 62, 140
INK, FAINT, GRID = "#1f2933", "#66727f", "#dde2e8"
COLORS = ("#2f62ad", "#d9730d", "#1f8a70", "#8e4fa8", "#b4483d", "#7a8a2a", "#3a9bb5", "#9aa5b1", "#5b4a3f")
BAND = 1.25
"""The dashed lines: a quarter above and a fifth below."""

Series = Mapping[str, Pairs]


def scatter(title: str, panels: Mapping[str, Series]) -> str:
    """A panel each with its name on top; ``Series`` are the (predicted, measured) pairs by colour."""
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    values = [value for series in panels.values() for pairs in series.values() for pair in pairs for value in pair]
    width = LEFT + len(panels) * (SIDE + GAP) + LEGEND
    height = TOP + SIDE + BOTTOM
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' "
        f"font-family='Inter, Helvetica, Arial, sans-serif' font-size='12' fill='{INK}' role='img'>",
        f"<title>{escape(title)}</title><rect width='{width}' height='{height}' fill='white'/>",
        f"<text x='14' y='24' font-size='15' font-weight='600'>{escape(title)}</text>",
    ]
    if values:
        low, high = min(values) / 1.1, max(values) * 1.1
        for k, (name, series) in enumerate(panels.items()):
            parts += _panel(LEFT + k * (SIDE + GAP), name, series, names, low, high)
    x = LEFT + len(panels) * (SIDE + GAP) - GAP + 18
    for i, name in enumerate(names):
        y = TOP + 14 + 18 * i
        parts.append(f"<circle cx='{x}' cy='{y - 4}' r='4' fill='{COLORS[i % len(COLORS)]}'/>")
        parts.append(f"<text x='{x + 10}' y='{y}'>{escape(name)}</text>")
    return "\n".join([*parts, "</svg>\n"])


def _panel(left: int, name: str, series: Series, names: Sequence[str], low: float, high: float) -> list[str]:
    span = math.log(high / low)

    def x_of(value: float) -> float:
        return left + SIDE * math.log(value / low) / span

    def y_of(value: float) -> float:
        return TOP + SIDE * (1 - math.log(value / low) / span)

    parts = [f"<text x='{left}' y='{TOP - 12}' fill='{FAINT}'>{escape(name)}</text>"]
    for tick in ticks(low, high):
        x, y = x_of(tick), y_of(tick)
        parts.append(f"<path d='M{left} {y:.1f}h{SIDE}M{x:.1f} {TOP}v{SIDE}' stroke='{GRID}' fill='none'/>")
        parts.append(f"<text x='{left - 8}' y='{y + 4:.1f}' text-anchor='end' fill='{FAINT}'>{tick:g}</text>")
        parts.append(f"<text x='{x:.1f}' y='{TOP + SIDE + 17}' text-anchor='middle' fill='{FAINT}'>{tick:g}</text>")
    for factor, dash in ((1.0, ""), (BAND, " stroke-dasharray='4 4'"), (1 / BAND, " stroke-dasharray='4 4'")):
        a, b = max(low, low / factor), min(high, high / factor)
        ends = f"M{x_of(a):.1f} {y_of(a * factor):.1f}L{x_of(b):.1f} {y_of(b * factor):.1f}"
        parts.append(f"<path d='{ends}' stroke='{FAINT}'{dash} fill='none'/>")
    for color_name, pairs in series.items():
        color = COLORS[names.index(color_name) % len(COLORS)]
        dots = "".join(f"<circle cx='{x_of(m):.1f}' cy='{y_of(p):.1f}' r='2.2'/>" for p, m in pairs)
        parts.append(f"<g fill='{color}' fill-opacity='.6'>{dots}</g>")
    middle = left + SIDE / 2
    parts.append(f"<text x='{middle}' y='{TOP + SIDE + 36}' text-anchor='middle'>measured, seconds a step</text>")
    x, y = left - 46, TOP + SIDE / 2
    parts.append(f"<text transform='translate({x} {y}) rotate(-90)' text-anchor='middle'>predicted</text>")
    return parts


def ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within the range; only powers of ten where that is wide."""
    steps = (1, 2, 5) if high / low < 300 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
