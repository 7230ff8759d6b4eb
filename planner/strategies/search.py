"""Branch and bound over strategies: the one with the least bound is looked at next, closer each time.

A strategy goes through steps: its quick bound, that of fractions and of whole layers in any order, a short search for
plans, the bound of its orders, a long search. Each raises its bound or finds a plan; what is left is the strategy whose
bound is the least, whatever step it is at. The least bound of all strategies that are not proven to have no plan is the
bound of the space: no plan of any strategy is shorter. The search ends when the best plan is within the gap of it, when
nothing is left to look at, or with the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import Any

from planner.engine import Engine, Outcome
from planner.engine.work import Work
from planner.strategies.evaluate import (
    FRACTIONS_ENOUGH,
    INVALID,
    OUT_OF_MEMORY,
    SOLVED,
    BoundWork,
    Look,
    QuickWork,
    SolveWork,
)
from planner.strategies.made import cap_of, graphs_of
from planner.strategies.request import Request
from planner.strategies.space import Candidate, Space, space_of

FRACTIONS_AT_ONCE, WHOLE_AT_ONCE = 8, 2
"""Candidates whose bounds of fractions or whole numbers of layers are one piece of work."""

LIKELY_AT_MOST = 400
"""Candidates with the least quick bounds of which a likely step is estimated."""

QUICK_AT_ONCE = 100
"""Candidates whose quick bounds are one piece of work."""

SHORT, ORDERS, LONG = 1 / 20, 1 / 10, 1 / 5
"""Shares of the time limit for one short search, the bound of orders, and one long search."""

SHORT_AT_LEAST, SHORT_AT_MOST = 1.5, 15.0
"""Seconds."""

LIKELY = 0.3
"""Share of the time limit after which plans are no longer looked for where they are likely to be short."""

UNSURE = 0.03
"""Relative error of a likely step that is reckoned with."""

PLANNING = 0.3
"""Share of the time limit that is left for whole plans of the best strategies."""

ALIKE = 1.001
"""A plan that is longer by no more than this is as good: bounds that are as close are not looked at further."""


class Step(IntEnum):
    """How closely a candidate has been looked at."""

    NEW = 0
    QUICK = 1
    FRACTIONS = 2  # bounded by fractions of layers
    BOUNDED = 3  # by whole numbers of layers
    SHORT = 4  # a plan was looked for
    ORDERS = 5  # bounded by paths through the orders
    LONG = 6  # a plan was looked for again


LOOKS = {Step.SHORT: Look.SOON, Step.ORDERS: Look.ORDERS, Step.LONG: Look.LONG}
"""What is looked for in a step."""


@dataclass
class Looked:
    """What is known of a candidate. ``lower_bound`` in seconds; ``result``: figures of its best plan."""

    candidate: Candidate
    step: Step = Step.NEW
    lower_bound: float = 0.0
    least_bytes: float = 0.0
    result: dict[str, Any] | None = None
    without: str = ""  # the state that proves that there is no plan
    reason: str = ""
    whole: bool = False  # whether it has been bounded by whole numbers of layers
    searched: bool = False  # whether a plan was looked for at length
    cut_off: int = 0  # how often the bound of its orders ran out of time

    @property
    def seconds(self) -> float:
        """Of the best plan known; inf where there is none."""
        return math.inf if self.result is None else float(self.result["seconds"])

    @property
    def out_of_memory(self) -> bool:
        """Whether it is proven that no plan fits."""
        return self.without == OUT_OF_MEMORY

    def state(self, best: float) -> str:
        """In a word, beside the best step of the space."""
        if self.without:
            return self.without
        if self.result is not None:
            return SOLVED
        return "pruned" if self.lower_bound * ALIKE >= best else "open"


@dataclass
class Found:
    """What the search has found: the space, and what is known of each of its candidates."""

    space: Space
    looked: list[Looked] = field(default_factory=list)
    interrupted: bool = False
    free: tuple[float, float] | None = None  # step and bound of the best strategy's degrees with any schedule
    notes: list[str] = field(default_factory=list)

    @property
    def best(self) -> float:
        """Seconds of the best step known; inf where there is none."""
        return min((each.seconds for each in self.looked), default=math.inf)

    @property
    def lower_bound(self) -> float:
        """Seconds that no plan of any strategy beats; inf where all are proven to have no plan."""
        open_ones = (each.lower_bound for each in self.looked if not each.without)
        return min(self.best, min(open_ones, default=math.inf))

    @property
    def gap(self) -> float | None:
        """(best - bound) / best; None where no plan is known."""
        return None if math.isinf(self.best) else (self.best - self.lower_bound) / self.best

    def ranked(self) -> list[Looked]:
        """The candidates with a plan, the best first."""
        return sorted((each for each in self.looked if each.result is not None), key=lambda each: each.seconds)


@dataclass
class Search:
    """The search on one engine. ``gap``: where it ends. ``listener`` is told of every step in words."""

    request: Request
    engine: Engine
    time_limit: float
    gap: float = 0.0
    listener: Callable[[str], None] = lambda what: None
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Begin with the space."""
        self.found = Found(space_of(self.request, graphs_of(self.request)))
        self.found.looked = [Looked(candidate) for candidate in self.found.space.candidates]
        self.number = {looked.candidate: n for n, looked in enumerate(self.found.looked)}
        self.likely: list[tuple[float, int]] = []  # seconds of a step, number
        self.queue: list[tuple[float, int, int]] = []  # bound, step, number
        self.busy: set[int] = set()  # numbers of those that are looked at now: they are not in the queue
        self.short = min(max(self.time_limit * SHORT, SHORT_AT_LEAST), SHORT_AT_MOST)
        self.orders, self.long = (max(self.time_limit * share, self.short) for share in (ORDERS, LONG))

    @property
    def left(self) -> float:
        """Seconds for looking at strategies."""
        return self.started + self.time_limit * (1 - PLANNING) - time.monotonic()

    def run(self, stops: tuple[type[BaseException], ...] = (KeyboardInterrupt,)) -> Found:
        """Look at strategies until the gap is reached, nothing is left, or the time is; ``stops`` end it, too."""
        try:
            self._quickly()
            self._closely()
        except stops:
            self.found.interrupted = True
        return self.found

    def _quickly(self) -> None:
        """The quick bounds of all; then, for those with the least, what steps are likely."""
        self._quick(self.found.space.candidates, closely=False)
        least = sorted((each for each in self.found.looked if not each.without), key=lambda each: each.lower_bound)
        self._quick([each.candidate for each in least[:LIKELY_AT_MOST]], closely=True)
        for looked in self.found.looked:
            self._push(looked)

    def _quick(self, candidates: Sequence[Candidate], closely: bool) -> None:
        for first in range(0, len(candidates), QUICK_AT_ONCE):
            self.engine.submit(
                QuickWork(self.request, tuple(candidates[first : first + QUICK_AT_ONCE]), closely), False
            )
        while self.engine.pending and self.left > 0:
            for outcome in self._wait():
                self._note_quick(outcome)

    def _note_quick(self, outcome: Outcome) -> None:
        work = outcome.work
        if not isinstance(work, QuickWork) or work.request is not self.request:
            return
        for k, candidate in enumerate(work.candidates):
            looked = self.found.looked[self.number[candidate]]
            looked.step = Step.QUICK
            if outcome.result is None:
                looked.reason = outcome.reason
                continue
            looked.lower_bound = outcome.result["seconds"][k]
            looked.least_bytes = outcome.result["bytes"][k]
            self._check_memory(looked)
            likely = outcome.result["likely"][k]
            if work.closely and likely is not None and not looked.without:
                heappush(self.likely, (likely, self.number[candidate]))

    def _check_memory(self, looked: Looked) -> None:
        """Weights, gradients and optimizer state alone may be more than there is."""
        if looked.least_bytes > cap_of(self.request):
            looked.without = OUT_OF_MEMORY
            looked.reason = "weights, gradients and optimizer state alone are more than the memory"

    def _closely(self) -> None:
        """The one with the least bound next, until nothing is left that could be better."""
        while self.left > 0:
            while self.engine.free and (work := self._next()) is not None:
                self.listener(self.words(work.label))
                self.engine.submit(work)
            if not self.engine.pending:
                return
            for outcome in self._wait():
                self.note(outcome)
            if self._done():
                return

    def _done(self) -> bool:
        gap = self.found.gap
        return gap is not None and gap <= self.gap

    def _wait(self) -> list[Outcome]:
        return self.engine.wait(timeout=max(0.05, min(self.left, 0.5)))

    def _push(self, looked: Looked) -> None:
        done = looked.step == Step.LONG or (looked.step == Step.ORDERS and looked.searched)
        if not looked.without and not done:
            heappush(self.queue, (looked.lower_bound, looked.step, self.number[looked.candidate]))

    def _pop(self, step: Step | None = None) -> Looked | None:
        """The candidate with the least bound that may still matter, at a step or at any."""
        enough = self.found.best * (1 - self.gap)
        passed, chosen = [], None
        while self.queue and chosen is None:
            entry = heappop(self.queue)
            looked = self.found.looked[entry[2]]
            if entry[0] * ALIKE >= enough:
                passed.append(entry)
                break  # nor may any other
            if step is not None and looked.step != step:
                passed.append(entry)
            elif looked.step == Step.QUICK or math.isfinite(enough):
                chosen = looked  # close looks come once there is a plan to beat
            else:
                passed.append(entry)
        for entry in passed:
            heappush(self.queue, entry)
        return chosen

    def _next(self) -> Work | None:
        """What is done next: bounds of several candidates, or plans of one.

        Plans are looked for where a better one than is known is likely; then where the bound is the least. Where one
        is not much less likely, that comes once it has a bound.
        """
        looked = self._promising()
        if looked is not None:
            return self._solve(looked, Step.SHORT)
        looked = self._pop()
        if looked is not None and looked.step > Step.QUICK:
            self._push(looked)
            if (other := self._promising(UNSURE)) is not None:
                return self._solve(other, Step.SHORT)
            if (other := self._leading()) is not None:
                return self._solve(other, Step.LONG)
            looked = self._pop()
        if looked is None:
            return None
        if looked.step > Step.QUICK and looked.whole:
            step = Step(looked.step + 1)
            return self._solve(looked, Step.LONG if step == Step.ORDERS and self.request.runs.is_any else step)
        some = [looked]
        quick = looked.step == Step.QUICK
        most = {Step.QUICK: FRACTIONS_AT_ONCE, Step.FRACTIONS: WHOLE_AT_ONCE}.get(looked.step, 1)
        while len(some) < most and (other := self._pop(looked.step)) is not None:
            some.append(other)
        candidates = tuple(each.candidate for each in some)
        self.busy |= {self.number[candidate] for candidate in candidates}
        enough = FRACTIONS_ENOUGH if quick else self.found.best
        return BoundWork(self.request, candidates, enough, max(0.5, min(self.left, self.long)))

    def _promising(self, unsure: float = 0.0) -> Looked | None:
        """The candidate with the least likely step, where that is shorter than the best known.

        ``unsure``: relative error of the likely step. None once they have had their share of the time.
        """
        best = self.found.best
        if math.isfinite(best) and time.monotonic() > self.started + self.time_limit * LIKELY:
            return None
        while self.likely and self.likely[0][0] * (1 - unsure) < best:
            _, number = heappop(self.likely)
            looked = self.found.looked[number]
            worth = looked.step < Step.SHORT and not looked.without and looked.lower_bound < best
            if worth and number not in self.busy:
                self._take(looked)
                return looked
        return None

    def _leading(self) -> Looked | None:
        """One of the best candidates that has not been searched at length, while few have been: one a worker.

        What is found so prunes others; later the least bound alone decides.
        """
        if sum(looked.searched for looked in self.found.looked) >= self.engine.workers:
            return None
        for looked in self.found.ranked():
            if looked.seconds * (1 - UNSURE) > self.found.best:
                return None
            worth = looked.step == Step.SHORT and looked.lower_bound * ALIKE < self.found.best
            if worth and not looked.searched and self.number[looked.candidate] not in self.busy:
                self._take(looked)
                return looked
        return None

    def _take(self, looked: Looked) -> None:
        """Take it out of the queue: it is looked at now."""
        number = self.number[looked.candidate]
        self.queue = [entry for entry in self.queue if entry[2] != number]
        heapify(self.queue)

    def _solve(self, looked: Looked, step: Step) -> Work:
        looked.searched |= step == Step.LONG
        self.busy.add(self.number[looked.candidate])
        orders = self.orders * 2**looked.cut_off
        most = {Step.SHORT: self.short, Step.ORDERS: orders, Step.LONG: self.long}[step]
        seconds = max(0.5, min(self.left, most))
        return SolveWork(self.request, looked.candidate, self.found.best, round(seconds, 1), LOOKS[step])

    def note(self, outcome: Outcome) -> None:
        """Learn from what has ended; what belongs to another question is left out."""
        work = outcome.work
        if getattr(work, "request", None) is not self.request:
            return
        if isinstance(work, BoundWork):
            for k, candidate in enumerate(work.candidates):
                result = None if outcome.result is None else outcome.result["found"][k]
                looked = self.found.looked[self.number[candidate]]
                looked.whole = work.enough > FRACTIONS_ENOUGH or self.request.runs.is_any
                step = Step.BOUNDED if looked.whole else Step.FRACTIONS
                self._learn(candidate, result, outcome.reason, max(looked.step, step))
        elif isinstance(work, SolveWork):
            looked = self.found.looked[self.number[work.candidate]]
            step = next(step for step, look in LOOKS.items() if look is work.look)
            if step == Step.LONG and looked.step == Step.SHORT and not self.request.runs.is_any:
                step = Step.SHORT  # one of the best, before its orders were bounded
            self._learn(work.candidate, outcome.result, outcome.reason, step)
        self.listener(self.words(""))

    def _learn(self, candidate: Candidate, result: dict[str, Any] | None, reason: str, step: Step) -> None:
        looked = self.found.looked[self.number[candidate]]
        looked.step = step
        self.busy.discard(self.number[candidate])
        if result is None:
            looked.reason, looked.step = reason, Step.LONG
        elif result["state"] in (OUT_OF_MEMORY, INVALID):
            looked.without, looked.reason = result["state"], result["reason"]
        else:
            looked.lower_bound = max(looked.lower_bound, float(result["lower_bound"]))
            looked.reason = result["reason"]
            if step == Step.ORDERS and result["cut_off"] and self.orders * 2**looked.cut_off < self.long:
                looked.step, looked.cut_off = Step.SHORT, looked.cut_off + 1
            if result["state"] == SOLVED and float(result["seconds"]) < looked.seconds:
                looked.result = result
            looked.lower_bound = min(looked.lower_bound, looked.seconds)
        self._push(looked)

    def words(self, now: str) -> str:
        """For progress: the best step, the gap, what is looked at."""
        best, gap = self.found.best, self.found.gap
        state = "no plan yet" if gap is None else f"best {best:.4g} s, gap {gap:.1%}"
        return f"{len(self.found.looked):,} strategies, {state}, {now}"
