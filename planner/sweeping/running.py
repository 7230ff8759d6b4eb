"""Solves the points of a sweep on an engine, shares what they find, and writes what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from planner.engine import Engine, Outcome
from planner.files.plan_file import plan_of_text
from planner.files.whole import make_folder, write_whole
from planner.plan.plan import plan_to_json
from planner.sweeping.frontier import frontier_svg
from planner.sweeping.order import starts_of
from planner.sweeping.page import sweep_html
from planner.sweeping.point import INFEASIBLE, PageWork, Point, SolveWork, start_text
from planner.sweeping.rows import Row, csv_text, document, json_text, names, titles
from planner.sweeping.share import Solved, shared

Listener = Callable[[Outcome | None, int], None]
"""Told of each outcome (None: nothing has ended for a moment) and of how many pieces of work there are in all."""

LOOKS_EACH = 0.5
"""Seconds after which the listener hears that nothing has ended."""


class Sweep:
    """The points of a grid, in its order, and what has come of them so far; ``solve`` may be cut off at any moment."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = tuple(points)
        self.names, self.titles = names(points), titles(points)
        self.solved: list[Solved | None] = [
            Solved(None, f"infeasible: {point.refused}", INFEASIBLE, 0.0) if point.refused else None for point in points
        ]
        flags = [json.dumps(point.flags, sort_keys=True) for point in points]
        self.twin = [flags.index(each) for each in flags]
        """By point: the first with the same flags, whose solve is that of all (they differ in thresholds alone)."""
        self.starts = starts_of(self.points)

    @property
    def todo(self) -> int:
        """How many solves there are in all."""
        return sum(self.twin[k] == k and not point.refused for k, point in enumerate(self.points))

    def solve(self, engine: Engine, listener: Listener = lambda outcome, total: None) -> None:
        """Solve all points that have not been solved, each as soon as the plans are known that it begins with."""
        left = [k for k in range(len(self.points)) if self.twin[k] == k and self.solved[k] is None]
        begun: dict[int, int] = {}  # points by the identity of their work
        works: list[SolveWork] = []  # held, so that identities stay theirs
        while left or begun:
            for k in [k for k in left if all(self.solved[self.twin[s]] is not None for s in self.starts[k])]:
                left.remove(k)
                works.append(self._work(k))
                begun[id(works[-1])] = k
                engine.submit(works[-1])
            ended = engine.wait(LOOKS_EACH)
            for outcome in ended:
                self._keep(begun.pop(id(outcome.work)), outcome)
                listener(outcome, self.todo)
            if not ended:
                listener(None, self.todo)

    def rows(self) -> list[Row]:
        """The rows, with what the points have from each other. Raises ``InvalidPlan``, see ``share``."""
        found = shared(self.points, self.titles, [self.solved[k] for k in self.twin])
        return [Row.of(*each) for each in zip(self.points, self.names, found, strict=True)]

    def _work(self, k: int) -> SolveWork:
        point = self.points[k]
        assert point.problem is not None and point.options is not None
        found = [self.solved[self.twin[s]] for s in self.starts[k]]
        starts = dict.fromkeys(start_text(each.plan) for each in found if each is not None and each.plan is not None)
        return SolveWork(point.problem, point.options, self.titles[k], tuple(starts))

    def _keep(self, k: int, outcome: Outcome) -> None:
        plan = None
        if outcome.result is not None:
            plan = plan_of_text(outcome.result["plan"], self.titles[k])
        self.solved[k] = Solved(plan, outcome.reason, outcome.code, outcome.seconds)


def write(
    folder: Path,
    rows: Sequence[Row],
    engine: Engine | None,
    interrupted: bool = False,
    listener: Listener = lambda outcome, total: None,
) -> str:
    """Write plans, pages, table and pictures of a sweep, and return the content of sweep.json.

    ``engine`` draws the pages of plans that have none yet; None: such plans go without. Raises ``InputError`` where a
    file cannot be written.
    """
    make_folder(folder / "plans")
    missing: list[PageWork] = []
    for row in rows:
        text = None if row.plan is None else plan_to_json(row.plan)
        path, page = folder / "plans" / f"{row.name}.json", folder / "plans" / f"{row.name}.html"
        if text is None and not row.reached:
            continue  # what an earlier run left stays
        if text is None:
            path.unlink(missing_ok=True)
            page.unlink(missing_ok=True)
        elif not (path.is_file() and page.is_file() and path.read_text("utf-8") == text):
            page.unlink(missing_ok=True)
            write_whole(path, text)
            assert row.point.problem is not None
            missing.append(PageWork(row.point.problem, text, row.name))
    if engine is not None:
        for outcome in engine.run(missing, keep=False):
            if outcome.result is not None:
                write_whole(folder / "plans" / f"{outcome.work.label}.html", outcome.result["html"])
            listener(outcome, len(missing))
    drawn = {row.name for row in rows if (folder / "plans" / f"{row.name}.html").is_file()}
    found = json_text(document(rows, interrupted))
    write_whole(folder / "sweep.csv", csv_text(rows))
    write_whole(folder / "frontier.svg", frontier_svg(rows))
    write_whole(folder / "sweep.html", sweep_html(rows, drawn, interrupted))
    write_whole(folder / "sweep.json", found)
    return found
