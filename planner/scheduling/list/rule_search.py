"""Search over rules: random ones, walks over neighbouring rules from the best, then re-optimisation from a prefix.

A list schedule is chaotic: a small change of its rule changes everything after the first choice that differs. Walks
alone can therefore hardly mend the end of a schedule and keep its beginning. So the best schedules are re-optimised
from a prefix: what starts before a random time stays, what comes after follows another rule, and the search goes on
from the shorter schedule (a rollout from every point on the way, as in nested Monte Carlo search, Cazenave 2009).

Random rules and suffixes are compared by what forward and backward scheduling in turn make of them (see ``justify``):
how good a rule is by itself says little about that.

Each walker of the search has its own generator and sees nothing of the others, so the schedule found does not depend
on the number of threads or on their speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter, itemgetter

import numpy as np

from planner.common.budget import Control
from planner.common.threads import Turns, in_turns
from planner.scheduling.classes import Classes
from planner.scheduling.list.arrays import Arrays
from planner.scheduling.list.justify import Justifier
from planner.scheduling.list.kernel import Run, run
from planner.scheduling.list.keys import Keying
from planner.scheduling.list.look import Look
from planner.scheduling.list.microbatch_groups import flows, random_groups
from planner.scheduling.list.own_starts import WIDTHS, OwnStarts
from planner.scheduling.list.rules import Keyed, Scales, random_rule
from planner.scheduling.params import SHIPPED, RuleSearchParams

Graded = tuple[float, Keyed]
"""A rule's makespan in ticks, and the rule (inf: not known, but above a limit)."""

VALUE = attrgetter("value")
"""What paths are compared by."""

TINY = 1e-9
"""Relative difference that rounding may make between two sums of the same idle time."""


@dataclass(frozen=True)
class Path:
    """A schedule to be re-optimised from a prefix, and its value up to the horizon."""

    value: float  # ticks: its makespan; with a horizon, the mean idle time of devices up to it
    run: Run
    since: tuple[tuple[float, Keyed], ...]  # (time in ticks, the rule that it follows from then on)

    def rule_at(self, time: float) -> Keyed:
        """The rule that it follows at a time (ticks)."""
        return [rule for begin, rule in self.since if begin <= time][-1]


@dataclass
class Walker:
    """One walker of the search on a set of classes: what it has found so far."""

    classes: Classes
    arrays: Arrays
    keying: Keying
    scales: Scales
    rng: np.random.Generator
    goal: float  # ticks at which it ends
    params: RuleSearchParams = SHIPPED.rules
    justifier: Justifier | None = None  # none: schedules stay as rules give them
    best: Run | None = None
    graded: list[Graded] = field(default_factory=list)
    evaluations: int = 0
    horizon: float = np.inf  # ticks up to which schedules are played

    @property
    def makespan(self) -> float:
        """The walker's own best makespan, in ticks."""
        return np.inf if self.best is None else self.best.makespan

    def try_rule(self, rule: Keyed, limit: float) -> float:
        """The value of the schedule by a rule (ticks; inf beyond ``limit``)."""
        path = self.follow(rule, limit)
        return np.inf if path is None else path.value

    def follow(self, rule: Keyed, limit: float = np.inf, path: Path | None = None, until: float = 0.0) -> Path | None:
        """The schedule by a rule; what starts before ``until`` (ticks) is as in ``path``. Kept if it is the best.

        None where its value is above ``limit`` (see ``Path``).
        """
        self.evaluations += 1
        keys = rule.keys(self.keying, self.scales)
        whole = np.isinf(self.horizon)
        begun = None if path is None else path.run
        longest, most_idle = (limit, np.inf) if whole else (np.inf, limit)
        found = run(
            self.arrays,
            keys,
            rule.look,
            longest,
            rule.reserve,
            begun,
            until,
            self.horizon,
            most_idle * (1 + TINY),
        )
        if not 0 <= found.makespan < np.inf:
            return None
        if whole and found.makespan < self.makespan:
            self.best = found
        value = found.makespan if whole else self._idle(found)
        before = () if path is None else tuple(entry for entry in path.since if entry[0] < until)
        return None if value > limit else Path(value, found, (*before, (until, rule)))

    def _idle(self, found: Run) -> float:
        """Mean idle time (ticks) up to the horizon of the devices that compute."""
        computing = self.arrays.computing
        tasks = np.flatnonzero(computing)
        worked = np.clip(self.horizon - found.start[tasks], 0.0, self.classes.ticks[tasks, None])
        return float(self.horizon - np.nansum(worked * computing[tasks, None]))

    def justify(self, path: Path, rounds: int, control: Control) -> Turns[Path]:
        """The best schedule that forward and backward scheduling make of one, in so many rounds or while it pays."""
        begun, justifier = path.run, self.justifier
        for _ in range(rounds):
            if justifier is None or self.horizon < np.inf or self.over(control):
                break
            always, *others = self.params.looks
            comm_first, other = bool(self.rng.random() < 0.5), others[self.rng.integers(len(others))]
            looks = [Look(look.ahead, comm_first) for look in (always, other)]
            self.evaluations += justifier.evaluations(looks)
            found = yield from justifier.justified(begun, looks)
            if found is None:
                break
            if found.makespan < self.makespan:
                self.best = found
            pays, begun = found.makespan < begun.makespan * (1 - self.params.pays), found
            if found.makespan < path.value:
                path = replace(path, value=found.makespan, run=found)
            if not pays:
                break
        return path

    def justify_rule(self, rule: Keyed, control: Control) -> Turns[Path | None]:
        """The schedule by a rule, justified; None where there is none."""
        path = None if self.over(control) else self.follow(rule)
        return None if path is None else (yield from self.justify(path, self.params.justified, control))

    def over(self, control: Control) -> bool:
        """Whether time or effort is used up, or the goal is reached."""
        return control.over or self.makespan <= self.goal

    def draw(self, evaluations: int, best: float, control: Control) -> Turns[Path | None]:
        """Try random rules, and justify their schedules; ``best`` (ticks) is the best makespan known.

        Returns the best of the justified schedules; None where no rule gave one.
        """
        shortest: Path | None = None
        end = self.evaluations + evaluations
        hopeless = self.params.hopeless if self.justifier is None else self.params.unjustified
        while self.evaluations < end and not self.over(control):
            best = min(best, self.makespan)
            rule = self._draw()
            path = self.follow(rule, best * hopeless)
            self.graded.append((np.inf if path is None else path.value, rule))
            yield
            if path is not None:
                path = yield from self.justify(path, self.params.justified, control)
                if shortest is None or path.value < shortest.value:
                    shortest = path
        return shortest

    def _draw(self) -> Keyed:
        if flows(self.classes, self.scales) and self.rng.random() < self.params.grouped:
            return random_groups(self.rng, self.scales)
        return random_rule(self.rng, self.classes.problem.microbatches, self.scales.groups, self.scales.may_defer)

    def walk(self, origin: Graded, evaluations: int, control: Control) -> Turns[Walker]:
        """A walk over neighbouring rules that accepts slightly worse ones, less and less."""
        value, rule = best = origin
        for step in range(evaluations):
            if self.over(control):
                break
            worse = 1.0 + self.params.worse * (1.0 - step / evaluations)
            candidate = rule.nearby(self.rng, 0.2 if self.rng.random() < 0.7 else 0.05)
            found = self.try_rule(candidate, value * worse)
            if found <= value * worse:
                value, rule = found, candidate
                if value < best[0]:
                    best = (value, rule)
            yield
        self.graded.append(best)
        return self

    def from_prefix(self, path: Path, control: Control) -> Turns[Path]:
        """Re-optimise a schedule once, from a random time on, with its own starts as keys (see ``own_starts``).

        Returns the new schedule, justified; the old one where that is not better than ``unjustified`` x as long.
        """
        if self.over(control):
            return path
        scale = self.scales.microbatch / self.scales.stage_rounds
        low, high = np.log10(WIDTHS)
        starts = OwnStarts(path.run.start * self.classes.tick)
        candidate = starts.nearby(self.rng, scale * float(10.0 ** self.rng.uniform(low, high)))
        until = self.rng.random() * path.run.makespan
        found = self.follow(candidate, path.value * self.params.unjustified, path, until)
        yield
        return path if found is None else (yield from self.justify(found, 1, control))

    def go_on(self, path: Path, evaluations: int, control: Control, since: float = 0.0) -> Turns[Path]:
        """Re-optimise a schedule from random times on (``since`` at the earliest, ticks), by rules close to its own.

        Returns the best schedule.
        """
        end = self.evaluations + evaluations
        justified = self.justifier is not None and np.isinf(self.horizon)
        worse = self.params.unjustified if justified else 1.0
        while self.evaluations < end and not self.over(control):
            until = since + self.rng.random() * (min(self.horizon, path.run.makespan) - since)
            _, some = path.since[self.rng.integers(len(path.since))]
            near = some if self.rng.random() < self.params.rule_of_another_time else path.rule_at(until)
            candidate = near.nearby(self.rng, 0.2 if self.rng.random() < 0.6 else 0.05)
            found = self.follow(candidate, path.value * worse, path, until)
            yield
            if found is not None:
                found = yield from self.justify(found, 1, control)
            if found is not None and found.value <= path.value:
                path = found
        return path


def vary(
    walkers: Sequence[Walker], pool: Sequence[Graded], evaluations: int, control: Control, threads: int
) -> list[Graded]:
    """In every walker: random rules, then a walk from one of the best, then re-optimisation from a prefix.

    The last begins with the best schedules of the random rules and of the walks. Returns all graded rules, those of
    ``pool`` among them.
    """
    params = walkers[0].params

    def best_rules() -> list[Graded]:
        """One for each walker."""
        known = _by_makespan(walkers, pool)
        return [known[min(k, len(known) - 1)] for k in range(len(walkers))]

    best = min((value for value, _ in pool), default=np.inf)
    each = max(1, int(evaluations * params.random) // len(walkers))
    drawn = in_turns(lambda walker: walker.draw(each, best, control), walkers, threads)
    each = max(1, int(evaluations * (1.0 - params.random - params.from_prefix)) // len(walkers))
    walks = list(zip(walkers, best_rules(), strict=True))
    in_turns(lambda pair: pair[0].walk(pair[1], each, control), walks, threads)
    known = _by_makespan(walkers, pool)
    walks = list(zip(walkers, best_rules(), strict=True))
    walked = in_turns(lambda pair: pair[0].justify_rule(pair[1][1], control), walks, threads)
    paths = sorted((path for path in (*walked, *drawn) if path is not None), key=VALUE)
    going = list(zip(walkers, paths, strict=False))
    for _ in range(params.rounds):
        each = max(1, int(evaluations * params.from_prefix / params.rounds) // max(1, len(going)))
        paths = in_turns(partial(_gone_on, each, control), going, threads)
        going = sorted(((walker, path) for (walker, _), path in zip(going, paths, strict=True)), key=_value)
        going = going[: max(1, len(going) // 2)]
    return known


def from_prefixes(walkers: Sequence[Walker], begun: Run, evaluations: int, control: Control, threads: int) -> None:
    """Re-optimise a schedule from prefixes, again and again: every walker tries a change, the best of them is kept.

    At first it may be slightly longer than the schedule before.
    """
    path, params = Path(begun.makespan, begun, ()), walkers[0].params
    before = sum(walker.evaluations for walker in walkers)
    spent = 0
    while spent < evaluations and not any(walker.over(control) for walker in walkers):
        work = partial(_from_prefix, path, control)
        best = min((new for new in in_turns(work, walkers, threads) if new is not path), key=VALUE, default=path)
        if best.value <= path.value * (1.0 + params.worse_from_prefix * (1.0 - spent / evaluations)):
            path = best
        spent = sum(walker.evaluations for walker in walkers) - before


def _from_prefix(path: Path, control: Control, walker: Walker) -> Turns[Path]:
    return walker.from_prefix(path, control)


def _by_makespan(walkers: Sequence[Walker], pool: Sequence[Graded]) -> list[Graded]:
    """All rules that have been graded, the best first."""
    return sorted([*pool, *(entry for walker in walkers for entry in walker.graded)], key=itemgetter(0))


def _gone_on(evaluations: int, control: Control, going: tuple[Walker, Path]) -> Turns[Path]:
    walker, path = going
    return walker.go_on(path, evaluations, control)


def _value(going: tuple[Walker, Path]) -> float:
    return going[1].value
