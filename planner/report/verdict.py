"""Whether plans are slower than the first one, by how much and in which measure, and whether they fit their inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from planner.plan.plan import Plan, Source
from planner.report.strategies import are_strategies
from planner.report.words import NOTHING, apart, number, plain, seconds


class Measure(StrEnum):
    """What decides which of two plans is slower."""

    MAKESPAN = "makespan"
    TOKENS = "tokens_per_second_per_gpu"

    def value_of(self, plan: Plan) -> float:
        """The figure of a plan in this measure; 0 where it has none."""
        if self is Measure.MAKESPAN:
            return plan.makespan
        return 0.0 if plan.throughput is None else plan.throughput.tokens_per_second_per_gpu

    def slower_by(self, own: float, first: float) -> float:
        """How much slower a figure is than the first's, as a share of the first's; below 0: faster."""
        if own == first:
            return 0.0
        if self is Measure.MAKESPAN:
            return own / first - 1 if first > 0 else math.inf
        return 1 - own / first if first > 0 else -math.inf

    def shown(self, own: float, first: float) -> str:
        """Both figures as a message compares them."""
        if self is Measure.MAKESPAN:
            a, b = apart(seconds, own, first)
            return f"makespan {a} against {b}"
        a, b = apart(_number, own, first)
        return f"{a} tokens/s/GPU against {b}"


@dataclass(frozen=True)
class Verdict:
    """Plans held against the first one. ``allowed``: the largest ``slower_by``; None: nothing is too slow."""

    names: tuple[str, ...]
    measure: Measure
    values: tuple[float, ...]
    allowed: float | None = None
    stale: tuple[tuple[str, ...], ...] = field(default=())
    """For each plan what no longer fits it, as messages; empty where no input was given."""

    @property
    def slower_by(self) -> tuple[float, ...]:
        """For each plan, as a share of the first's figure; below 0: faster."""
        return tuple(self.measure.slower_by(value, self.values[0]) for value in self.values)

    @property
    def too_slow(self) -> tuple[int, ...]:
        """Positions of the plans that are slower than the first by more than is allowed."""
        if self.allowed is None:
            return ()
        return tuple(k for k, by in enumerate(self.slower_by) if by > self.allowed + NOTHING)

    @property
    def notes(self) -> tuple[str, ...]:
        """What no longer fits its inputs, all plans together."""
        return tuple(line for lines in self.stale for line in lines)

    def change(self, at: int) -> str:
        """``12.5 % slower``: the plan at a position against the first, with digits enough to differ from the limit."""
        by = self.slower_by[at]
        if abs(by) <= NOTHING:
            return "as fast"
        how = "slower" if by > 0 else "faster"
        if not math.isfinite(by):
            return f"infinitely {how}"
        share, _ = apart(_percent, abs(by), self.allowed, 4)
        return f"{share} {how}"

    def words(self, at: int) -> str:
        """``12.5 % slower (makespan 9 s against 8 s)``: the same with both figures."""
        return f"{self.change(at)} ({self.measure.shown(self.values[at], self.values[0])})"

    def complaints(self) -> list[str]:
        """A message for each plan that is too slow."""
        if self.allowed is None:
            return []
        limit = f"--fail-if-slower allows {_percent(self.allowed)}"
        return [f"{self.names[k]} against {self.names[0]}: {self.words(k)}; {limit}" for k in self.too_slow]

    def limit(self) -> str:
        """Whether all plans are fast enough, in words; empty where nothing is too slow."""
        if self.allowed is None:
            return ""
        fast = "Too slow" if self.too_slow else "Fast enough"
        return f"{fast}: at most {_percent(self.allowed)} slower is allowed"


def _number(value: float | None, digits: int = 4) -> str:
    return number(value or 0.0, digits)


def _percent(share: float | None, digits: int = 4) -> str:
    return f"{number(100 * (share or 0.0), digits)} %"


def verdict(
    plans: Sequence[Plan],
    names: Sequence[str],
    different: Sequence[str],
    allowed: float | None = None,
    graph: tuple[str, Source] | None = None,
    cluster: tuple[str, Source] | None = None,
) -> Verdict:
    """Hold the plans against the first one, and against graph and cluster (file and what it is) where given.

    Plans of ``different`` problems that do the same work in a step are measured in tokens a second and GPU, all others
    by their makespans.
    """
    measure = Measure.TOKENS if are_strategies(plans, different) else Measure.MAKESPAN
    stale: tuple[tuple[str, ...], ...] = ()
    if graph is not None or cluster is not None:
        stale = tuple(
            tuple(_stale(name, plan.graph, graph, "graph") + _stale(name, plan.cluster, cluster, "cluster"))
            for name, plan in zip(names, plans, strict=True)
        )
    return Verdict(tuple(map(plain, names)), measure, tuple(map(measure.value_of, plans)), allowed, stale)


def _stale(name: str, made_from: Source, given: tuple[str, Source] | None, kind: str) -> list[str]:
    if given is None or made_from.sha256 == given[1].sha256:
        return []
    file, source = given
    own = f"{plain(made_from.sha256[:12])}…" if made_from.sha256 else "unknown"
    return [
        f"{plain(name)} no longer fits {plain(file)}: it was made from another {kind} (SHA-256 {own}, the file's "
        f"{source.sha256[:12]}…)"
    ]
