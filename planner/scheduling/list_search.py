"""Level 2 on one placement: list scheduling by known and by varied rules, then annealing of the best schedule.

Everything is counted in evaluations, not in seconds, so that the same seed gives the same schedule unless the
deadline cuts it off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from planner.common.budget import Control
from planner.common.threads import finished, side_by_side
from planner.placement.memory import Need, microbatch_need, parameters_on, sequence
from planner.problem import Placement, Problem
from planner.scheduling.classes import Classes, Floats, build_classes, keep_to_order
from planner.scheduling.list.arrays import Arrays, flatten
from planner.scheduling.list.beam import search_horizons
from planner.scheduling.list.group_sizes import Sizes, best_sizes, compete
from planner.scheduling.list.justify import Justifier
from planner.scheduling.list.kernel import Run, run
from planner.scheduling.list.keys import Keying
from planner.scheduling.list.look import Look
from planner.scheduling.list.microbatch_groups import flows, known_groups
from planner.scheduling.list.rule_search import Graded, Path, Walker, from_prefixes, vary
from planner.scheduling.list.rules import RULES, Keyed, Scales
from planner.scheduling.mirror import Mirror, mirror
from planner.scheduling.orders.anneal import Orders, OrderSearch
from planner.scheduling.params import SHIPPED, ScheduleParams
from planner.timetable.timetable import Timetable

BOTH_WAYS = (Look(), Look(0.5))
"""How a timetable is learnt from, with its starts as keys."""


class DoesNotFit(Exception):
    """A placement on which not even one microbatch fits. ``proven`` unless the search for an order was cut off."""

    def __init__(self, proven: bool) -> None:
        super().__init__("one microbatch alone does not fit")
        self.proven = proven


@dataclass
class ListSearch:
    """The schedules of one placement: the best so far, and the state of the search for better ones.

    With ``mirrored`` it schedules only one of two mirrored copies, for both (see ``mirror``).
    """

    full: Classes  # of all copies
    classes: Classes  # without the precedence that memory dictates: those of bounds and models
    ordered: Classes  # with that precedence, if there is any: those of the list scheduler
    mirrored: Mirror | None
    arrays: Arrays
    rng: np.random.Generator
    best: Run | None = None  # in ticks
    pool: list[tuple[float, Keyed]] = field(default_factory=list)
    group_sizes: list[Sizes] = field(default_factory=list)  # sizes of microbatch groups of the best rules
    evaluations: int = 0
    params: ScheduleParams = SHIPPED

    @staticmethod
    def of(problem: Problem, placement: Placement, seed: int, params: ScheduleParams = SHIPPED) -> ListSearch:
        """Prepare a search; raises ``DoesNotFit`` where one microbatch alone does not fit."""
        classes = build_classes(problem, placement)
        needs = microbatch_needs(problem, placement)
        ordered = classes
        for copy, need in enumerate(needs):
            if need.order is not None and classes.counts[copy]:
                ordered = keep_to_order(ordered, copy, sequence(problem.of_copy(placement, copy), need.order))
        arrays = flatten(ordered, np.array([need.peak for need in needs]))
        rng = np.random.default_rng(seed)
        return ListSearch(classes, classes, ordered, None, arrays, rng, params=params)

    def mirror(self, seed: int) -> ListSearch | None:
        """The search for schedules in which mirrored copies run alike; None where copies do not mirror each other.

        Also None where the list scheduler might deadlock: where memory dictates an order, or a device cannot hold a
        microbatch of each of its two copies at once.
        """
        half = mirror(self.full) if self.ordered is self.full else None
        if half is None:
            return None
        needs = self.arrays.need[0] + self.arrays.need[0][half.device_image]
        if (needs > half.classes.available).any():
            return None
        arrays = flatten(half.classes, needs[None, :])
        rng = np.random.default_rng(seed)
        return ListSearch(self.full, half.classes, half.classes, half, arrays, rng, params=self.params)

    def whole(self, start: Floats) -> Floats:
        """Starts of all copies (``full.n`` rows) from those that this search decides."""
        return start if self.mirrored is None else self.mirrored.expand(start)

    @cached_property
    def scales(self) -> Scales:
        """What the numbers of a rule are multiples of; most changes of a placement are never scheduled by rules."""
        return Scales.of(self.classes)

    @cached_property
    def keying(self) -> Keying:
        """What the keys of its classes depend on besides a rule."""
        return Keying.of(self.classes)

    @property
    def makespan(self) -> float:
        """The best makespan so far, in ticks."""
        return np.inf if self.best is None else self.best.makespan

    @property
    def seconds(self) -> float:
        """The best makespan so far, in seconds."""
        return self.makespan * self.classes.tick

    @property
    def seconds_by_rules(self) -> float:
        """The best makespan by a rule alone, in seconds; the best of all where no rule has been tried."""
        values = [value for value, _ in self.pool if value < np.inf]
        return min(values) * self.classes.tick if values else self.seconds

    def justify(self, control: Control, rounds: int | None = None) -> None:
        """Forward and backward scheduling from the best schedule, while it pays; ``rounds`` at most."""
        rounds = self.params.rules.justified if rounds is None else rounds
        looks = self.params.rules.looks
        for _ in range(rounds):
            if control.over:
                return
            before, evaluations = self.makespan, self.evaluations
            self.justify_once(looks)
            control.spend(self.evaluations - evaluations)
            if self.makespan >= before:
                return

    def justify_once(self, looks: Sequence[Look]) -> None:
        """Forward and backward scheduling from the best schedule, if there is one, with these look-aheads."""
        if self.best is None or self.justifier is None:
            return
        self.keep(finished(self.justifier.justified(self.best, looks)))
        self.evaluations += self.justifier.evaluations(looks)

    def try_rule(self, rule: Keyed, limit: float = np.inf) -> float:
        """Schedule by a rule and keep the schedule if it is the best; its makespan (ticks; inf beyond ``limit``)."""
        self.evaluations += 1
        found = run(self.arrays, rule.keys(self.keying, self.scales), rule.look, limit, rule.reserve)
        self.keep(found)
        return found.makespan if found.makespan >= 0 else np.inf

    def try_rules(self, rules: Sequence[Keyed], limit: float, control: Control, threads: int) -> list[Graded]:
        """Schedule by each rule as ``try_rule`` does, side by side; those for which no time is left are missing."""

        def played(rule: Keyed) -> Run | None:
            if control.remaining <= 0.0:
                return None
            return run(self.arrays, rule.keys(self.keying, self.scales), rule.look, limit, rule.reserve)

        side = threads if self.classes.n_tasks >= self.params.many_tasks else 1  # else starting threads takes longer
        graded: list[Graded] = []
        for rule, found in zip(rules, side_by_side(played, rules, side), strict=True):
            if found is not None:
                self.evaluations += 1
                self.keep(found)
                graded.append((found.makespan if found.makespan >= 0 else np.inf, rule))
        return graded

    def anneal(self, rounds: int, control: Control, target: float, threads: int = 1, hot: float | None = None) -> None:
        """Local search on the orders of the best schedule, until ``target`` seconds are reached."""
        goal = target / self.classes.tick * (1 + 1e-12)
        for _ in range(rounds):
            if self.best is None or control.over or self.makespan <= goal:
                return
            rngs = self.rng.spawn(self.params.anneal.walkers)
            self.keep(self.orders.improve(self.best, control, goal, rngs, hot, threads))

    @cached_property
    def orders(self) -> OrderSearch:
        """The search on orders of the same classes."""

        def unit() -> float:
            return self.scales.microbatch / self.classes.tick

        return OrderSearch.of(self.ordered, self.arrays, unit, self.params.anneal)

    @cached_property
    def justifier(self) -> Justifier | None:
        """Forward and backward scheduling of the same classes, if the search justifies schedules."""
        ordered, orders = self.ordered, self.orders
        if not self.params.rules.justified:
            return None
        return Justifier.of(ordered, self.arrays, lambda start: orders.play(Orders.of(ordered, start)))

    def follow(self, timetable: Timetable) -> None:
        """Keep what can be learnt from a timetable on this placement, if it is the best."""
        for found in self.learn(timetable):
            self.keep(found)

    def learn(self, timetable: Timetable) -> list[Run]:
        """Schedules by a timetable's order, or with its starts as keys, whether or not it fits in memory."""
        start = self.full.starts_of(timetable)
        if start is None:
            return []
        return self.learn_starts(start if self.mirrored is None else self.mirrored.restrict(start))

    def learn_starts(self, start: Floats, limit: float = np.inf, looks: Sequence[Look] = BOTH_WAYS) -> list[Run]:
        """Schedules in the order of starts (seconds, of the classes of this search), or with them as keys.

        With keys, those beyond ``limit`` (ticks) are given up early.
        """
        start = start / self.classes.tick
        keys = np.nan_to_num(start, nan=np.inf)
        played = self.orders.play(Orders.of(self.ordered, start))
        self.evaluations += len(looks)
        return [played, *(run(self.arrays, keys, look, limit) for look in looks)]

    def keep(self, found: Run | None) -> None:
        """Keep a schedule if it is the best."""
        if found is not None and 0 <= found.makespan < self.makespan:
            self.best = found

    def try_known_rules(self, control: Control, limit: float = np.inf, threads: int = 1) -> None:
        """Schedule by the rules that stand for known schedules; any beyond ``limit`` seconds is given up early."""
        rules: list[Keyed] = [*RULES, *(known_groups(self.scales) if flows(self.classes, self.scales) else ())]
        if control.effort_left >= len(rules):  # effort cuts nothing off
            tried = self.try_rules(rules, limit / self.classes.tick, control, threads)
            self.pool += tried
            control.spend(len(tried))
            if self.best is not None or len(tried) == len(rules):
                return
        for rule in rules:
            if self.best is not None and control.over:
                return
            self.pool.append((self.try_rule(rule, limit / self.classes.tick), rule))
            control.spend(1)

    @property
    def needs_beam(self) -> bool:
        """Whether a beam search over horizons applies: many tasks, and more than a few microbatch groups."""
        return self.classes.n_tasks >= self.params.many_tasks and self.scales.groups > self.params.beam.meetings

    def vary_rules(
        self, evaluations: int, control: Control, target: float, threads: int = 1, afresh: bool = False
    ) -> None:
        """Vary rules (see ``rule_search.vary``) until ``target`` seconds are reached.

        ``afresh``: not those varied before. The best rules of a short search are alike, so all walks of a long search
        would begin in the same place.
        """
        if not self.pool:
            self.try_known_rules(control, threads=threads)
        goal = target / self.classes.tick * (1 + 1e-12)
        if control.over or self.makespan <= goal:
            return
        walkers = self._walkers(self.params.rules.walkers, goal)
        evaluations = control.at_most(evaluations)
        graded = vary(walkers, () if afresh else self.pool, evaluations, control, threads)
        self.pool = graded[: self.params.rules.remembered]
        if self.needs_beam:
            self.group_sizes = best_sizes(graded, sum(self.classes.counts), self.params.group_sizes.known)
        self._learn_from(walkers, control)

    def from_prefixes(self, evaluations: int, control: Control, target: float, threads: int = 1) -> None:
        """Re-optimise the best schedule from prefixes (see ``rule_search.from_prefixes``)."""
        goal = target / self.classes.tick * (1 + 1e-12)
        if self.best is None or control.over or self.makespan <= goal:
            return
        walkers = self._walkers(self.params.rules.walkers, goal)
        from_prefixes(walkers, self.best, control.at_most(evaluations), control, threads)
        self._learn_from(walkers, control)

    def beam_search(self, control: Control, target: float, threads: int = 1) -> None:
        """Beam search over horizons (see ``beam``), first for good group sizes, until ``target`` seconds are reached.

        Several sizes are searched side by side, with a walker each; a single one is searched by all walkers.
        """
        if not self.group_sizes:
            return
        goal, best = target / self.classes.tick * (1 + 1e-12), self.makespan
        known: dict[Sizes, list[list[Path]]] = {}  # what a longer search with the same sizes begins with
        makespans: dict[Sizes, float] = {}

        def in_team(team: tuple[Sizes, list[Walker]], played: float, threads: int) -> list[list[Path]]:
            sizes, walkers = team
            earlier = known.get(sizes, ())
            return search_horizons(walkers, sizes, played, best, control, threads, earlier, self.params.beam)

        def searched(some: Sequence[Sizes], played: float) -> list[float]:
            alone = len(some) == 1
            teams = [(sizes, self._walkers(self.params.rules.walkers if alone else 1, goal)) for sizes in some]
            if not control.over and self.makespan > goal:
                played = min(played, control.effort_left * self.classes.n_tasks / len(some))
                found = side_by_side(lambda team: in_team(team, played, threads if alone else 1), teams, threads)
                known.update(zip(some, found, strict=True))
            for sizes, walkers in teams:
                self._learn_from(walkers, control)
                makespans[sizes] = min(makespans.get(sizes, np.inf), *(walker.makespan for walker in walkers))
            return [makespans[sizes] for sizes in some]

        largest = math.floor(sum(self.classes.counts) / self.scales.fills + 1e-9)
        compete(self.group_sizes, largest, searched, self.params.group_sizes)

    def _walkers(self, count: int, goal: float) -> list[Walker]:
        known = self.classes, self.arrays, self.keying, self.scales
        return [Walker(*known, rng, goal, self.params.rules, self.justifier) for rng in self.rng.spawn(count)]

    def _learn_from(self, walkers: Sequence[Walker], control: Control) -> None:
        for walker in walkers:
            self.evaluations += walker.evaluations
            control.spend(walker.evaluations)
            self.keep(walker.best)


def microbatch_needs(problem: Problem, placement: Placement) -> list[Need]:
    """What one microbatch of each copy needs; raises ``DoesNotFit``."""
    room = problem.cap_with_slack - parameters_on(problem, placement)
    needs: list[Need] = []
    for own, device_of in zip(problem.of_copies(placement), placement.device_of, strict=True):
        need = microbatch_need(own, device_of, room)
        if need is None or isinstance(need, bool):
            raise DoesNotFit(proven=need is None)
        needs.append(need)
    return needs
