"""One straight line of steps, each of which may end the search by meeting the bound.

All effort is counted in evaluations and nodes, so that a search that is not cut off by its deadline always goes
the same way. The exact models come late, since one of them may take all the time that is left; what can go on for ever,
windows, restarts and moves, takes turns by what it gains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from planner.baselines.replayed import Published
from planner.placement.layouts import only_placement
from planner.problem import Placement, Problem
from planner.search.incumbent import Candidate, Incumbent
from planner.search.polish import ANNEALINGS, MANY, SAME, Polish
from planner.search.proposals import any_that_fits, first_placements, proposals, second_copies
from planner.timetable.figures import figures

if TYPE_CHECKING:  # what compiled code or a solver stands behind is loaded where it is used: the first plan needs none
    from planner.scheduling.placement_search import ListSearch

PLACEMENTS_IMPROVED, RULES_COMPARED = 3, 0.15
"""How many placements have their rules varied, each for such a share of the usual; the best of them then for all."""

PLACEMENTS_COUNTED = 2
SMALL_MODEL = 4_000
"""Variables of a counting model that is asked before placements are moved about."""

FIRST, HALVING, BRIEF_HALVING = ((5, 1), (2, 2)), ((1, 4),), ((3, 1), (1, 2))
"""Searches annealed, and rounds for each: which of them is best shows only then."""

HOPED, LEAST = 5e-4, 1e-4
"""Gain (relatively) that is expected of a step that has not been tried, and the least for which it is tried again."""

HOPED_OF_ANNEALING = 2e-3
"""The same of annealing placements where rules leave time for it."""

LONGER = 0.2
"""x that for searching a placement anew where its steps are shaped stage by stage: it takes that much longer."""

TOO_MANY = 100_000
"""Tasks from which on windows of a few microbatches come before schedules of the whole."""

READY_AFTER, READY_SHARE = 0.25, 10.0
"""Share of the time limit after which a plan is kept ready, and how much longer than that took until it is again."""

PROMISING = 1.4
"""A placement is given up where its known rules do worse than this times the best."""


@dataclass
class Portfolio:
    """All that is tried on a problem.

    ``published`` are the timetables of baselines by layout, to begin with; ``replay`` those of another problem.
    ``brief``: known rules and annealing only, for a question that is asked many times.
    """

    incumbent: Incumbent
    published: Published
    replay: Callable[[Problem], Published]
    seed: int
    threads: int
    brief: bool = False
    notes: list[str] = field(default_factory=list)
    moves: int = 0  # rounds of moves so far
    repeated: bool = False  # whether windows have been tried
    hopeless: int = 0  # placements that were left out for their bounds
    searches: list[ListSearch] = field(default_factory=list)
    seen: set[tuple[tuple[int, ...], ...]] = field(default_factory=set)  # placements in ``searches``
    kept: Candidate | None = None  # of which a plan was last made while placements are tried
    keep_after: float = 0.0  # seconds from the start until which no plan is made anew

    def __post_init__(self) -> None:
        """What makes single schedules shorter."""
        self.polish = Polish(self.incumbent, self.seed, self.threads, self.notes)

    @property
    def problem(self) -> Problem:
        """The problem to be solved."""
        return self.incumbent.problem

    def run(self) -> Candidate | None:
        """Search; the best candidate, None if a limit was reached before there was any. Raises ``Impossible``."""
        incumbent = self.incumbent
        self._offer_published()
        from planner.bounds import placement_bound, problem_bound

        incumbent.raise_bound(problem_bound(self.problem, incumbent.control), "bounds")
        only = only_placement(self.problem)
        if only is not None:
            incumbent.raise_bound(placement_bound(self.problem, only), "bounds")
        if 0 < incumbent.enough < incumbent.bound:
            return None  # nothing can be short enough
        from planner.search.repeating import few_microbatches  # only now: a first plan has been offered

        few = few_microbatches(self.problem)
        brief = few is not None and few * self._tasks_each <= MANY
        if brief or self._tasks > TOO_MANY:  # else a schedule of the whole is soon found, and shorter
            self._repeat()
        self._try_all(self._by_bound(first_placements(self.problem)))
        if incumbent.best is None:
            for placement in any_that_fits(self.problem, only, incumbent.control, self.threads):
                self._try(placement)
        first = [self._bound_more]
        shaped: list[Callable[[], object]]
        if self._many:  # rules shape the whole; annealing only polishes what they leave
            shaped = [self._propose, self._move_operators, self._improve, self._anneal_best, self._repeat]
            last = [self._alternate, self._solve_small, self._count]
        else:
            shaped = [self._anneal_first, self._count_small, self._propose, self._move_operators, self._anneal_some]
            shaped += [self._improve, self._anneal_best]
            last = [self._solve_small, self._count, self._alternate]
        steps: list[Callable[[], object]] = [*first, *shaped, *last]
        if self.brief:
            steps = [self._anneal_briefly]
        for step in steps:
            if incumbent.best is None or incumbent.met:
                break
            incumbent.publish_best()
            step()
        return incumbent.best

    def run_on(self, placement: Placement) -> Candidate | None:
        """Search for the best schedule on one placement; None if there was no time for any."""
        from planner.bounds import problem_bound

        incumbent = self.incumbent
        incumbent.raise_bound(problem_bound(self.problem, incumbent.control), "bounds")
        self._try(placement)
        for step in (self._improve, self._anneal_best) if self._many else (self._anneal_best, self._improve):
            if incumbent.best is None or incumbent.met:
                break
            incumbent.publish_best()
            step()
        return incumbent.best

    @property
    def _many(self) -> bool:
        """Whether there are so many tasks that annealing only polishes what rules have shaped."""
        return self._tasks > MANY

    @property
    def _tasks(self) -> int:
        return self.problem.microbatches * self._tasks_each

    @property
    def _tasks_each(self) -> int:
        """Tasks of a microbatch."""
        return int(self.problem.has_pass.sum())

    def _offer_published(self) -> None:
        """Published schedules whose layout, copies and memory the problem allows."""
        problem = self.problem
        for layout, timetables in self.published.items():
            if problem.layout not in ("auto", layout):
                continue
            for name, timetable in timetables:
                best = self.incumbent.best
                if best is not None and timetable.makespan(problem) >= best.makespan:
                    continue  # it would not be kept, and whether it fits takes longer to say
                if timetable.placement.copies <= problem.copies and figures(problem, timetable).fits:
                    self.incumbent.offer(timetable, f"the order of {name}", published=True)

    def _bound_more(self) -> None:
        """The dearer bounds, once there is something to compare them with."""
        from planner.bounds import indivisible_bound, turn_bound

        incumbent = self.incumbent
        for bound, how in ((indivisible_bound, "bound of packings"), (turn_bound, "bound of turns")):
            incumbent.control.report(how)
            incumbent.raise_bound(bound(self.problem, incumbent.control), how)

    def _repeat(self) -> None:
        """Windows of a few microbatches, repeated; once."""
        from planner.search.repeating import repeat

        if not self.repeated:
            self.repeated = True
            repeat(self.incumbent, self.replay, self.seed, self.threads)

    def _by_bound(self, placements: Iterable[Placement]) -> Iterator[Placement]:
        """Placements by the makespan that none of their schedules can beat: what looks best is scheduled first.

        The bound is a relaxation that sees when devices start, wait for gradients and end, for some milliseconds.
        """
        if self.incumbent.best is None:  # whatever fits comes first
            yield from placements
            return
        bounds: list[tuple[float, Placement]] = []
        for placement in placements:
            if self.incumbent.control.over:
                break
            self.incumbent.control.report(f"bound of placement {placement.origin}")
            bounds.append((self.incumbent.bound_of(placement), placement))
        before = self.hopeless
        for _, placement in sorted(bounds, key=lambda entry: entry[0]):
            yield placement
        if self.hopeless > before:
            self.notes.append(
                f"level 1 ranked {len(bounds)} placements by their bounds; {self.hopeless - before} of them were left "
                "out, for nothing on them is shorter than what had been found"
            )

    def _try_all(self, placements: Iterable[Placement]) -> None:
        """Schedule each placement by the known rules, while there is something to gain."""
        for placement in placements:
            best = self.incumbent.best
            if best is not None and (self.incumbent.control.over or (self.incumbent.met and not best.published)):
                return
            self._keep_ready()
            self._try(placement)

    def _keep_ready(self) -> None:
        """Have a plan ready, where making it takes little of the time: at the end there may be too little left."""
        control, best = self.incumbent.control, self.incumbent.best
        if (
            best is None
            or best is self.kept
            or control.elapsed < max(self.keep_after, READY_AFTER * control.time_limit)
        ):
            return
        begun = control.elapsed
        self.incumbent.publish_best()
        self.kept, self.keep_after = best, begun + READY_SHARE * (control.elapsed - begun)

    def _try(self, placement: Placement) -> None:
        """Schedule a placement by the known rules, unless its bound is longer than the best schedule."""
        if placement.device_of in self.seen:
            return
        from planner.scheduling.placement_search import DoesNotFit, ListSearch

        self.seen.add(placement.device_of)
        best = self.incumbent.best
        if best is not None and self.incumbent.bound_of(placement) > best.makespan * (1 + SAME):
            self.hopeless += 1
            return
        self.incumbent.control.report(f"placement {placement.origin}")
        try:
            search = ListSearch.of(self.problem, placement, self.seed)
        except DoesNotFit:
            return
        for each in (search, search.fold(self.seed)):
            best = self.incumbent.best
            if each is None or (self.incumbent.met and not (best is not None and best.published)):
                continue
            each.try_known_rules(self.incumbent.control, np.inf if best is None else best.makespan * PROMISING)
            for timetables in self.published.values():
                for _, timetable in timetables:
                    each.follow(timetable)
            self.searches.append(each)
            self.incumbent.offer_search(each, f"list scheduling on placement {placement.origin}")

    def _solve_small(self) -> None:
        from planner.search.exact import solve_small

        solve_small(self.incumbent, self.seed, self.threads)

    def _propose(self) -> None:
        self._try_all(proposals(self.problem, self.incumbent.control, self.threads, self.notes))
        for search in self._ranked()[:1]:
            self._try_all(second_copies(self.problem, search.full.placement))

    def _ranked(self) -> list[ListSearch]:
        """Searches that have found something, best first."""
        found = [s for s in self.searches if s.best is not None]
        return sorted(found, key=lambda s: (s.seconds, s.classes.n_tasks))

    def _improve(self) -> None:
        """Vary rules on the best placements, most on the very best."""
        for search in self._ranked()[:PLACEMENTS_IMPROVED]:
            self.polish.vary(search, RULES_COMPARED * math.sqrt(self.polish.length(search)))
        for search in self._ranked()[:1]:
            self.polish.shape(search)

    def _anneal_first(self) -> None:
        """A first look at what annealing brings, on the placements of families."""
        self._halve(FIRST)

    def _anneal_some(self) -> None:
        """Annealing on what is best of all placements."""
        self._halve(HALVING)

    def _anneal_briefly(self) -> None:
        self._halve(BRIEF_HALVING)

    def _halve(self, stages: Sequence[tuple[int, int]]) -> None:
        """Annealing on ever fewer searches, since it changes which is best."""
        for searches, rounds in stages:
            for search in self._ranked()[:searches]:
                self.polish.anneal(search, rounds)

    def _anneal_best(self) -> None:
        """Much annealing on the best."""
        for search in self._ranked()[:1]:
            self.polish.anneal(search, 1 if self._many and self.polish.is_close(search) else ANNEALINGS)

    def _alternate(self) -> None:
        """Windows, restarts and moves: always what is likely to gain most, until none gains anything.

        What is likely is the mean of what was expected and what came of it, each time anew.
        """
        from planner.search.moves import TASKS_ANNEALED

        steps: dict[Callable[[], object], float] = dict.fromkeys((self._move, self._restart, self._reorder), HOPED)
        if self._many:
            steps[self._reorder] *= 2  # at first they learn what pays; operators have just been moved
        if any(search.packets for search in self._ranked()[:1]):
            steps[self._restart] *= LONGER  # and takes several times as long
        if self._tasks <= TASKS_ANNEALED:
            steps[self._anneal_placement] = HOPED if self._many else HOPED_OF_ANNEALING
        while steps and self.incumbent.best is not None and not self.incumbent.met:
            step = max(steps, key=lambda each: steps[each])
            before = self.incumbent.best.makespan
            self.incumbent.publish_best()
            step()
            steps[step] = (steps[step] + 1 - self.incumbent.best.makespan / before) / 2
            if steps[step] < LEAST:
                del steps[step]

    def _reorder(self) -> None:
        """Windows of the best schedule ordered anew."""
        for search in self._ranked()[:1]:
            self.polish.reorder(search)

    def _restart(self) -> None:
        """The best placement searched anew."""
        for search in self._ranked()[:1]:
            again = self.polish.restart(search)
            if again is not None:
                self.searches.append(again)

    def _move_operators(self, annealed: bool = False) -> ListSearch | None:
        """Move operators between devices where the layout is free; the search of the best placement reached."""
        ranked = self._ranked()
        if self.problem.layout != "auto" or not ranked:
            return None
        from planner.search.moves import Heat, bottleneck, move_groups

        self.moves += 1
        before, narrow = ranked[0].seconds, bottleneck(ranked[0])
        heat = Heat.of(self._tasks) if annealed else Heat.none()
        moved = move_groups(self.incumbent, ranked[0], (self.seed, self.moves), heat, self.threads)
        if moved is not ranked[0]:
            self.searches.append(moved)
            self.seen.add(moved.classes.placement.device_of)
        where = " to ".join(self.problem.cluster.devices[d].name for d in narrow.devices)
        self.notes.append(
            f"round {self.moves} of moving operators: the {narrow.kind} of {where} worked most, "
            f"{narrow.seconds:.6g} s; makespan {before:.6g} -> {min(before, moved.seconds):.6g} s"
        )
        return moved

    def _anneal_placement(self) -> None:
        """Move operators, at first also where that takes longer."""
        self._move(annealed=True)

    def _move(self, annealed: bool = False) -> None:
        """Move operators, and vary rules and anneal on what comes of it."""
        best = self._ranked()[:1]
        moved = self._move_operators(annealed)
        if moved is None or (moved.staged and any(moved is each for each in best)):
            return  # what is shaped stage by stage has left behind what rules alone can do
        self.polish.vary(moved, 0.5)
        self.polish.anneal(moved, 2)

    def _count_small(self) -> None:
        """The counting model where it is small: on a coarse grid it soon finds what little memory hides."""
        from planner.search.exact import count

        for search in self._ranked()[:1]:
            if not self.incumbent.met:
                count(self.incumbent, search, self.threads, SMALL_MODEL)

    def _count(self) -> None:
        from planner.search.exact import count

        for search in self._ranked()[:PLACEMENTS_COUNTED]:
            if not self.incumbent.met:
                count(self.incumbent, search, self.threads)
