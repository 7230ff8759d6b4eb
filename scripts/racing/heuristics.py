"""The heuristics alone: baselines, and list scheduling by the known rules. No MIP, no random search."""

from __future__ import annotations

import sys

from planner.baselines import BASELINES, NotApplicable, baseline_timetable
from planner.baselines.registry import SCHEDULES
from planner.common.budget import Control
from planner.placement.earliest import earliest_finish_placement
from planner.placement.layouts import family_placements
from planner.problem import Impossible, Problem
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.timetable.figures import figures
from racing.child import Reporter
from racing.problem import read


def published(problem: Problem, reporter: Reporter) -> None:
    """The baselines that layout, copies and memory allow."""
    for name in BASELINES:
        if problem.layout not in ("auto", SCHEDULES[name].family):
            continue
        try:
            timetable = baseline_timetable(name, problem)
        except NotApplicable:
            continue
        if timetable.placement.copies <= problem.copies and figures(problem, timetable).fits:
            reporter.news(best=timetable.makespan(problem), how=name)


def ruled(problem: Problem, reporter: Reporter, control: Control) -> None:
    """All known rules on the placements of all families, and on that by earliest finish."""
    placements = list(family_placements(problem))
    if problem.layout == "auto":
        placements.append(earliest_finish_placement(problem))
    for placement in placements:
        if control.over:
            return
        try:
            search = ListSearch.of(problem, placement, seed=0)
        except DoesNotFit:
            continue
        search.try_known_rules(control)
        if search.best is not None:
            reporter.news(best=search.seconds, how=f"list scheduling, {placement.origin}")


def main() -> None:
    """Run the heuristics on the case in a folder."""
    folder, began, limit, *flags = sys.argv[1:]
    reporter = Reporter(float(began))
    problem = read(folder, flags)
    control = Control(time_limit=max(0.1, float(limit) - reporter.elapsed))
    published(problem, reporter)
    try:
        ruled(problem, reporter, control)
    except Impossible as reason:
        reporter.news(reason=str(reason))
    reporter.news(status="feasible" if reporter.best is not None else "none")


if __name__ == "__main__":
    main()
