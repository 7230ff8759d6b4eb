"""Draw how busy the devices of one or more plans are over time, one plan under the other on one axis.

`python scripts/picture.py PLAN... -o FILE.svg [--titles A,B] [--bins N]`: each device is a band. The height of a colour
is the part of a time slice in which the compute stream runs that pass; white is idle time. (`planner show --svg` and
`planner compare --svg` draw every task instead.)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from planner.files.plan_file import read_plan
from planner.files.whole import write_whole
from planner.plan.plan import Plan
from planner.plan.rows import PlannedStepTask, PlannedTask

COLORS = {"F": "#3d6fb4", "I": "#1f8a70", "W": "#e0952f", "U": "#8b5fbf"}
WORDS = {"F": "forward", "I": "input gradient", "W": "weight gradient", "U": "optimizer"}
INK, FAINT, FRAME = "#1f2933", "#66727f", "#aab2bd"
WIDTH, LEFT, RIGHT, BAND, GAP, HEAD = 1100, 62, 92, 26, 4, 40


def tasks_of(plan: Plan) -> Iterator[PlannedTask | PlannedStepTask]:
    """Everything that devices run, the optimizer at the end of the step included."""
    yield from plan.tasks
    yield from plan.step_tasks


def shares(plan: Plan, device: str, edges: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """For each pass, the part of every slice in which the device's compute stream runs it."""
    found = {p: np.zeros(len(edges) - 1) for p in COLORS}
    for task in tasks_of(plan):
        if task.device == device and task.stream == "compute":
            low, high = np.maximum(edges[:-1], task.start), np.minimum(edges[1:], task.end)
            found[task.pass_] += np.maximum(0.0, high - low)
    return {p: seconds / np.diff(edges) for p, seconds in found.items()}


def steps(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], x: npt.NDArray[np.float64], y: float) -> str:
    """The area between two step functions (0 to 1) over the slices, as a path; y is its bottom."""
    there = [f"{x[k]:.1f} {y - BAND * high[k]:.1f}H{x[k + 1]:.1f}" for k in range(len(high))]
    back = [f"{x[k + 1]:.1f} {y - BAND * low[k]:.1f}H{x[k]:.1f}" for k in reversed(range(len(low)))]
    return "M" + "L".join([*there, *back]) + "Z"


def panel(plan: Plan, title: str, top: float, scale: float, bins: int) -> Iterator[str]:
    """The bands of one plan, with its title and the idle part of each device."""
    figures = f"{plan.makespan:.3f} s a step, compute idle {plan.bubble_ratio:.1%} of it"
    yield f"<text x='14' y='{top + 24}' font-size='15' font-weight='600'>{escape(title)}"
    yield f"<tspan dx='10' font-size='13' font-weight='400' fill='{FAINT}'>{figures}</tspan></text>"
    edges = np.linspace(0.0, plan.makespan, bins + 1)
    x = LEFT + edges * scale
    y = top + HEAD
    for device in plan.devices:
        y += BAND
        yield f"<text x='{LEFT - 8}' y='{y - 8:.0f}' text-anchor='end'>{escape(device.name)}</text>"
        low = np.zeros(bins)
        for p, share in shares(plan, device.name, edges).items():
            if share.any():
                yield f"<path fill='{COLORS[p]}' d='{steps(low, low + share, x, y)}'/>"
                low = low + share
        yield (
            f"<rect x='{LEFT}' y='{y - BAND:.0f}' width='{plan.makespan * scale:.1f}' height='{BAND}' fill='none' "
            f"stroke='{FRAME}'/>"
        )
        idle = device.bubble / plan.makespan
        yield (
            f"<text x='{LEFT + plan.makespan * scale + 6:.1f}' y='{y - 8:.0f}' fill='{FAINT}'>idle {idle:.0%}</text>"
        )
        y += GAP


def picture(plans: Sequence[Plan], titles: Sequence[str], slices: int = 160) -> str:
    """The whole picture; ``slices`` of the longest plan, as long in all of them."""
    until = max(plan.makespan for plan in plans)
    scale = (WIDTH - LEFT - RIGHT) / until
    body: list[str] = []
    top = 0.0
    for plan, title in zip(plans, titles, strict=True):
        body += panel(plan, title, top, scale, max(1, round(slices * plan.makespan / until)))
        top += HEAD + len(plan.devices) * (BAND + GAP) + 8
    body.append(f"<g font-size='11' fill='{FAINT}' text-anchor='middle'>")
    tick = next(t for t in (m * 10.0**e for e in range(-9, 9) for m in (1, 2, 5)) if until / t <= 10)
    for k in range(int(until / tick) + 1):
        x = LEFT + k * tick * scale
        body.append(f"<path d='M{x:.1f} {top:.0f}v5' stroke='{FRAME}'/>")
        body.append(f"<text x='{x:.1f}' y='{top + 18:.0f}'>{k * tick:.6g} s</text>")
    body.append("</g>")
    x, top = float(LEFT), top + 32
    for p, color in [*COLORS.items(), ("", "#ffffff")]:
        word = WORDS.get(p, "idle (height of a colour: part of the time slice in which the compute stream works)")
        if not p or any(task.pass_ == p for plan in plans for task in tasks_of(plan)):
            body.append(f"<rect x='{x:.0f}' y='{top:.0f}' width='11' height='11' fill='{color}' stroke='{FRAME}'/>")
            body.append(f"<text x='{x + 16:.0f}' y='{top + 10:.0f}'>{word}</text>")
            x += 34 + 6.6 * len(word)
    height = top + 24
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height:.0f}' "
        f"viewBox='0 0 {WIDTH} {height:.0f}' font-family='Inter, Helvetica, Arial, sans-serif' font-size='12' "
        f"fill='{INK}' role='img'>"
    )
    named = f"<title>{escape('; '.join(titles))}</title>"
    return "\n".join([head, named, "<rect width='100%' height='100%' fill='#ffffff'/>", *body, "</svg>"]) + "\n"


def main() -> int:
    """Read the plans, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plans", nargs="+", type=Path, metavar="PLAN")
    parser.add_argument("-o", "--output", required=True, metavar="FILE")
    parser.add_argument("--titles", help="one for each plan, separated by commas")
    parser.add_argument("--bins", type=int, default=160, help="time slices of the longest plan")
    given = parser.parse_args()
    plans = [read_plan(path) for path in given.plans]
    titles = given.titles.split(",") if given.titles else [plan.origin.removeprefix("baseline:") for plan in plans]
    if len(titles) != len(plans):
        parser.error(f"{len(titles)} titles for {len(plans)} plans")
    write_whole(given.output, picture(plans, titles, given.bins))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
