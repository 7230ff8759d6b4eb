"""The frontier of memory and time as SVG: makespan over the cap, for our plans, uniform choices and baselines."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 560, 300, 56, 54, 190, 44
INK, FAINT, GRID, OURS = "#1f2933", "#66727f", "#dde2e8", "#2f62ad"
COLORS = ("#9aa5b1", "#d9730d", "#8e4fa8", "#1f8a70", "#b4483d")
APART = 14  # pixels between two labels

Points = Mapping[str, list[tuple[float, float]]]


def plot(points: Points, title: str) -> str:
    """``points``: by name, (GiB, seconds) in order; ``planner`` on top, ``bound`` dashed."""
    width, height = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' "
        f"font-family='Inter, Helvetica, Arial, sans-serif' font-size='12' fill='{INK}' role='img'>",
        f"<title>{escape(title)}</title><rect width='{width}' height='{height}' fill='white'/>",
        f"<text x='14' y='24' font-size='15' font-weight='600'>{escape(title)}</text>",
        f"<text x='14' y='42' fill='{FAINT}'>Seconds a step, over the memory of a device in GiB</text>",
    ]
    caps = sorted({cap for line in points.values() for cap, _ in line})
    values = [seconds for line in points.values() for _, seconds in line]
    if not values:
        return "\n".join([*parts, "</svg>\n"])
    step = next(s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 1e9) if (max(values) - min(values)) / s <= 6)
    low = step * int(min(values) / step)
    high = step * (int(max(values) / step) + 1)
    span = (caps[-1] - caps[0]) or 1.0

    def at(cap: float, seconds: float) -> tuple[float, float]:
        return LEFT + WIDTH * (cap - caps[0]) / span, TOP + HEIGHT * (high - seconds) / (high - low)

    for k in range(round((high - low) / step) + 1):
        y = at(caps[0], low + k * step)[1]
        parts.append(f"<path d='M{LEFT} {y:.1f}h{WIDTH}' stroke='{GRID}'/>")
        parts.append(f"<text x='{LEFT - 8}' y='{y + 4:.1f}' text-anchor='end' fill='{FAINT}'>{low + k * step:g}</text>")
    for cap in caps:
        x = at(cap, low)[0]
        parts.append(f"<path d='M{x:.1f} {TOP}v{HEIGHT}' stroke='{GRID}'/>")
        parts.append(f"<text x='{x:.1f}' y='{TOP + HEIGHT + 18}' text-anchor='middle' fill='{FAINT}'>{cap:g}</text>")
    colors = iter(COLORS * len(points))
    style = {
        name: (OURS, 3) if name == "planner" else (OURS if name == "bound" else next(colors), 1.5) for name in points
    }
    for name, line in points.items():
        color, thick = style[name]
        dashes = " stroke-dasharray='5 3'" if name == "bound" else ""
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (at(*point) for point in line))
        parts.append(f"<path d='M{path}' fill='none' stroke='{color}' stroke-width='{thick}'{dashes}/>")
        if name != "bound":
            parts += [
                f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{thick + 1}' fill='{color}'/>"
                for x, y in (at(*point) for point in line)
            ]
    free = float(TOP) - APART
    for name, line in sorted(points.items(), key=lambda item: at(*item[1][-1])[1]):
        free = max(free + APART, at(*line[-1])[1])
        weight = " font-weight='600'" if name == "planner" else ""
        parts.append(
            f"<text x='{LEFT + WIDTH + 12}' y='{free + 4:.1f}' fill='{style[name][0]}'{weight}>{escape(name)}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])
