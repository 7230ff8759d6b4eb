"""All strategies of a question, each looked at: figures take milliseconds, so that nothing has to be pruned."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from planner.importers.huggingface.config import Unfit
from planner.prediction.strategy import Strategy
from planner.strategies.inference.evaluate import OUT_OF_MEMORY, SOLVED, TOO_SLOW, Looked, looked_at
from planner.strategies.inference.phases import Phases, strategy_of
from planner.strategies.inference.question import Question
from planner.strategies.space import divisors, experts_of

MICRO_BATCHES = tuple(2**k for k in range(13))
"""Sequences of a microbatch that are looked at, where no others are fixed: 1 to 4,096."""

ALIKE = 1e-9
"""A gap below it counts as 0."""

REPORT_EVERY = 50
"""Strategies from one word of progress to the next."""


@dataclass
class Found:
    """The valid strategies, how many are not valid, by reason, and whether a signal has ended the search."""

    question: Question
    phases: Phases
    looked: list[Looked] = field(default_factory=list)
    invalid: Counter[str] = field(default_factory=Counter)
    interrupted: bool = False

    @property
    def states(self) -> Counter[str]:
        """How many strategies are in each state."""
        return Counter(each.state for each in self.looked)

    @property
    def best(self) -> float:
        """GPU seconds of a token of the best strategy; inf where there is none."""
        return min((each.seconds for each in self.looked), default=math.inf)

    @property
    def lower_bound(self) -> float:
        """GPU seconds that a token takes at least under every strategy; inf where it is proven that none serves."""
        return min((each.lower_bound for each in self.looked), default=math.inf)

    @property
    def gap(self) -> float | None:
        """(best - bound) / best, 0 where that is rounding; None where no strategy serves."""
        if math.isinf(self.best):
            return None
        found = (self.best - self.lower_bound) / self.best
        return 0.0 if found < ALIKE else found

    def ranked(self) -> list[Looked]:
        """The strategies that serve, the best first; of equals, that of the shorter latency."""
        served = [each for each in self.looked if each.figures is not None]
        return sorted(served, key=lambda each: (each.seconds, each.figures.token_latency if each.figures else 0.0))

    def frontier(self) -> list[Looked]:
        """Those than which none is both as fast from token to token and as cheap, the fastest first."""
        served = [
            (each.figures.token_latency, each.seconds, n, each) for n, each in enumerate(self.looked) if each.figures
        ]
        found: list[Looked] = []
        for _, seconds, _, each in sorted(served, key=lambda row: row[:3]):
            if not found or seconds < found[-1].seconds:
                found.append(each)
        return found

    @property
    def refused(self) -> bool:
        """Whether it is proven that no valid strategy serves."""
        return all(each.state in (OUT_OF_MEMORY, TOO_SLOW) for each in self.looked)


def best_inference(
    question: Question,
    time_limit: float = math.inf,
    listener: Callable[[str], None] = lambda what: None,
    stops: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
) -> Found:
    """Look at all strategies, for at most ``time_limit`` seconds. ``stops`` end it early, with what is known by then.

    Raises ``ProblemError`` where the GPU type has neither a calibration nor rates.
    """
    phases = Phases(question)
    found, end = Found(question, phases), time.monotonic() + time_limit
    found.looked = [Looked(strategy) for strategy in space_of(phases, found.invalid)]
    try:
        for number, looked in enumerate(found.looked):
            if time.monotonic() > end:
                break
            if number % REPORT_EVERY == 0:
                listener(f"{number:,} of {len(found.looked):,} strategies, {found.states[SOLVED]:,} serve")
            found.looked[number] = looked_at(looked.strategy, phases)
    except stops:
        found.interrupted = True
    return found


def space_of(phases: Phases, invalid: Counter[str]) -> Iterator[Strategy]:
    """The valid strategies; the others are counted by reason.

    Tensor ranks share a node. Experts spread over replicas, which then run in lockstep.
    """
    question, node = phases.question, phases.part.per_node
    gpus, layers, experts = question.gpus, len(question.model.decoder.layers), experts_of(question.model)
    sizes = question.fixed.get("mbs", MICRO_BATCHES)
    for tp in divisors(gpus):
        if tp > node or (node % tp and gpus > node) or not question.allows("tp", tp):
            continue  # a group of tensor ranks would reach over two nodes
        for pp in divisors(gpus // tp):
            dp = gpus // tp // pp
            if not question.allows("pp", pp) or not question.allows("dp", dp):
                continue
            for ep in divisors(dp) if experts else [1]:
                if (experts and experts % ep) or not question.allows("ep", ep):
                    continue
                why = f"more stages than the {layers} layers" if pp > layers else ""
                why = why or _unfit(phases, strategy_of(question, tp, ep, pp, dp, 1))
                if why:
                    invalid[why] += len(sizes)
                    continue
                for mbs in sizes:
                    yield strategy_of(question, tp, ep, pp, dp, mbs)


def _unfit(phases: Phases, strategy: Strategy) -> str:
    """Why the model cannot be shared so; empty where it can."""
    try:
        phases.check(strategy)
    except Unfit as reason:
        return str(reason)
    return ""
