"""Rules varied: random ones, walks over neighbouring rules from the best, then other rules from some time on.

A list schedule is chaotic: a small change of its rule changes all that comes after the first different choice. Walks
alone can therefore hardly mend the end of a schedule and keep its beginning. So the best schedules are taken up in the
midst: what starts before a random time stays, what comes after follows another rule, and the shorter schedule is the
next one to be taken up (a rollout from every point on the way, as in nested Monte Carlo search, Cazenave 2009).

Each strand of the search has its own generator and sees nothing of the others, so that the schedule found does not
depend on the number of threads or on which of them is faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from planner.control import Control
from planner.schedule.classes import Classes
from planner.schedule.kernel import Arrays, Run, run
from planner.schedule.packets import flows, random_packets
from planner.schedule.rules import Keyed, Scales, random_rule
from planner.threads import side_by_side

Graded = tuple[float, Keyed]
"""A rule and its makespan in ticks (inf: not known, only beyond a limit)."""

STRANDS = 4
RANDOM, TAKEN_UP = 0.2, 0.2
"""Shares of the evaluations for random rules and for schedules taken up in the midst; the walks have the rest."""

WORSE = 0.004
"""What a walk accepts at first, relative to where it stands."""

ROUNDS = 2
"""After each of which the worse half of the schedules that are taken up is left."""

RULE_OF_ANOTHER_TIME = 0.15
"""How often a schedule goes on by a rule like that of any time, not of the time from which on it changes."""

PACKETS = 0.5
"""Share of the random rules that are of packets, where memory makes the microbatches fall into such."""

HOPELESS = 1.1
"""Random rules are given up where they do worse than this times the best."""


@dataclass
class Strand:
    """One strand of the search on a set of classes: what it has found so far."""

    classes: Classes
    arrays: Arrays
    scales: Scales
    rng: np.random.Generator
    goal: float  # ticks at which it ends
    best: Run | None = None
    graded: list[Graded] = field(default_factory=list)
    evaluations: int = 0
    now: Run | None = None  # the schedule that is continued from times in its midst on
    since: list[tuple[float, Keyed]] = field(default_factory=list)  # by which rule it goes on from when (ticks)

    def try_rule(self, rule: Keyed, limit: float) -> float:
        """Schedule by a rule (ticks; inf beyond ``limit``)."""
        found = self._scheduled(rule, limit)
        return found.makespan if found.makespan >= 0 else np.inf

    def _scheduled(self, rule: Keyed, limit: float = np.inf, begun: Run | None = None, until: float = 0.0) -> Run:
        """The schedule by a rule, of which what starts before ``until`` is as in ``begun``; kept if it is the best."""
        self.evaluations += 1
        keys = rule.keys(self.classes, self.scales)
        found = run(self.arrays, keys, rule.patience, limit, rule.reserve, begun, until)
        if 0 <= found.makespan < (np.inf if self.best is None else self.best.makespan):
            self.best = found
        return found

    def _over(self, control: Control) -> bool:
        return control.over or (self.best is not None and self.best.makespan <= self.goal)

    def draw(self, evaluations: int, best: float, control: Control) -> Strand:
        """Try random rules; ``best`` (ticks) is what is known."""
        for _ in range(evaluations):
            if self._over(control):
                break
            best = best if self.best is None else min(best, self.best.makespan)
            rule = self._draw()
            self.graded.append((self.try_rule(rule, best * HOPELESS), rule))
        return self

    def _draw(self) -> Keyed:
        if flows(self.classes, self.scales) and self.rng.random() < PACKETS:
            return random_packets(self.rng, self.scales)
        return random_rule(self.rng, self.classes.problem.microbatches, self.scales.groups, self.scales.put_off)

    def walk(self, origin: Graded, evaluations: int, control: Control) -> Strand:
        """A walk over neighbouring rules that accepts a little worse ones, less and less."""
        value, rule = best = origin
        for step in range(evaluations):
            if self._over(control):
                break
            worse = 1.0 + WORSE * (1.0 - step / evaluations)
            candidate = rule.nearby(self.rng, 0.2 if self.rng.random() < 0.7 else 0.05)
            found = self.try_rule(candidate, value * worse)
            if found <= value * worse:
                value, rule = found, candidate
                if value < best[0]:
                    best = (value, rule)
        self.graded.append(best)
        return self

    def take_up(self, rule: Keyed, control: Control) -> Strand:
        """Begin with the schedule of a rule what ``go_on`` goes on with."""
        self.now = None if self._over(control) else self._scheduled(rule)
        self.since = [(0.0, rule)]
        return self

    def go_on(self, evaluations: int, control: Control) -> Strand:
        """Continue the schedule from random times on by rules near to the one that it has there."""
        now = self.now
        for _ in range(evaluations):
            if now is None or self._over(control) or not 0 <= now.makespan < np.inf:
                break
            until = self.rng.random() * now.makespan
            before = [(time, rule) for time, rule in self.since if time <= until]
            some = self.since[self.rng.integers(len(self.since))]
            _, near = some if self.rng.random() < RULE_OF_ANOTHER_TIME else before[-1]
            candidate = near.nearby(self.rng, 0.2 if self.rng.random() < 0.6 else 0.05)
            found = self._scheduled(candidate, now.makespan, now, until)
            if 0 <= found.makespan <= now.makespan:
                now, self.since = found, [*before, (until, candidate)]
        self.now = now
        return self


def vary(
    strands: Sequence[Strand], pool: Sequence[Graded], evaluations: int, control: Control, threads: int
) -> list[Graded]:
    """In all strands random rules, then a walk from one of the best, then schedules of the best taken up in the midst.

    All rules graded, ``pool`` among them.
    """
    best = min((value for value, _ in pool), default=np.inf)
    each = max(1, int(evaluations * RANDOM) // len(strands))
    side_by_side(lambda strand: strand.draw(each, best, control), strands, threads)
    known = sorted([*pool, *(entry for strand in strands for entry in strand.graded)], key=lambda entry: entry[0])
    each = max(1, int(evaluations * (1.0 - RANDOM - TAKEN_UP)) // len(strands))
    origins = [known[min(k, len(known) - 1)] for k in range(len(strands))]
    side_by_side(lambda pair: pair[0].walk(pair[1], each, control), zip(strands, origins, strict=True), threads)
    known = sorted([*pool, *(entry for strand in strands for entry in strand.graded)], key=lambda entry: entry[0])
    rules = [known[min(k, len(known) - 1)][1] for k in range(len(strands))]
    going = side_by_side(lambda pair: pair[0].take_up(pair[1], control), zip(strands, rules, strict=True), threads)
    for _ in range(ROUNDS):
        each = max(1, int(evaluations * TAKEN_UP / ROUNDS) // len(going))
        side_by_side(partial(Strand.go_on, evaluations=each, control=control), going, threads)
        going = sorted(going, key=lambda strand: np.inf if strand.now is None else strand.now.makespan)
        going = going[: max(1, len(going) // 2)]
    return known
