"""Beam search over horizons, for steps of several microbatch groups: judges a beginning before later groups hide it.

What a rule does well at the beginning is lost in the makespan, since a list schedule is chaotic: after the first
groups the same pattern comes out slightly better or worse by chance. So the beginning is searched first. Schedules are
played only up to a horizon and compared by how long devices are idle by then. The best beginnings continue to the next
horizon, and then to the end. Each time the search draws random groups, walks from the best of these, and re-optimises
the best from a prefix (a beam search whose steps are whole groups; for job shops see Sabuncuoglu and Bayiz, "Job shop
scheduling with beam search", 1999).

Toward the end, weight gradients that release no memory may be deferred whatever the number of groups is: no steady
state is left that lacks them, and they fill the drain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from planner.common.budget import Control
from planner.common.threads import finished, side_by_side
from planner.scheduling.list.group_sizes import Sizes
from planner.scheduling.list.microbatch_groups import MicrobatchGroups, random_groups
from planner.scheduling.list.rule_search import VALUE, Path, Walker
from planner.scheduling.list.rules import Keyed, random_deferrable_offset
from planner.scheduling.params import SHIPPED, BeamParams


def horizons(walker: Walker, params: BeamParams = SHIPPED.beam) -> list[float]:
    """The horizons (ticks): after the first meeting of two groups, after the last but one, and the end (inf)."""
    scales, classes = walker.scales, walker.classes
    group = scales.step / scales.groups
    turn = float(classes.round_begins[1].min())
    meetings = sorted({max(0, scales.groups - 2), min(1, max(0, scales.groups - 2))})
    return [*((turn + (k + params.past_turn) * group) / classes.tick for k in meetings), np.inf]


def search_horizons(
    walkers: Sequence[Walker],
    sizes: Sizes,
    played: float,
    best: float,
    control: Control,
    threads: int = 1,
    earlier: Sequence[Sequence[Path]] = (),
    params: BeamParams = SHIPPED.beam,
) -> list[list[Path]]:
    """Beam search with groups of given sizes, for so many tasks ``played``, the walkers side by side.

    ``best`` (ticks) is the best makespan known. Each walker keeps the best schedule that it meets. Returns the best
    beginnings up to each horizon; another search with these sizes may start with them (``earlier``).
    """
    classes, scales = walkers[0].classes, walkers[0].scales
    back = params.back * scales.step / scales.groups / classes.tick
    ends = horizons(walkers[0], params)
    between = [(1.0 - params.beginning - params.end) / max(1, len(ends) - 2)] * (len(ends) - 2)
    part = _Horizon([], 0.0, 0.0, ends[0], 0.0, sizes, best, control, params)
    found: list[list[Path]] = []
    shares = [1.0 - params.end - sum(between), *between, params.end]
    for k, (horizon, share) in enumerate(zip(ends, shares, strict=True)):
        each = share * played / classes.n_tasks * max(1.0, best / horizon)
        part = replace(part, horizon=horizon, evaluations=each)
        paths = part.run(walkers, threads, earlier[k] if k < len(earlier) else ())
        if not paths:
            break
        if horizon < np.inf:
            found.append(paths)
        part = replace(part, paths=paths, since=max(0.0, horizon - back), until=horizon)
    for walker in walkers:
        walker.horizon = np.inf
    return found


@dataclass(frozen=True)
class _Horizon:
    """The search up to one horizon: schedules that continue given beginnings. Times are in ticks."""

    paths: Sequence[Path]  # beginnings to continue; none before the first horizon
    since: float  # prefixes end here at the earliest
    until: float  # and here at the latest
    horizon: float
    evaluations: float
    sizes: Sizes
    best: float  # makespan
    control: Control
    params: BeamParams

    def run(self, walkers: Sequence[Walker], threads: int, earlier: Sequence[Path] = ()) -> list[Path]:
        """The best schedules up to the horizon, at least as good as those known from an ``earlier`` search."""
        count, evaluations, params = len(walkers), self.evaluations, self.params
        each = int(evaluations * params.drawn / count) + 1
        drawn = chain(*side_by_side(lambda walker: self._draw(walker, each), walkers, threads))
        origins = _best([*drawn, *earlier], max(params.walks, count))
        steps = int(evaluations * params.walked / max(1, len(origins))) + 1
        walked = self._distributed(lambda walker, path: self._walk(walker, path, steps), walkers, origins, threads)
        going = _best([*walked, *earlier], max(params.width, count))
        rest = int(evaluations * (1.0 - params.drawn - params.walked) / max(1, len(going))) + 1
        gone_on = self._distributed(
            lambda walker, path: finished(walker.go_on(path, rest, self.control, self.since)), walkers, going, threads
        )
        return _best(gone_on, params.width)

    @staticmethod
    def _distributed(
        work: Callable[[Walker, Path], Path], walkers: Sequence[Walker], paths: Sequence[Path], threads: int
    ) -> list[Path]:
        """The results for paths that are assigned to the walkers round-robin; walkers share no random numbers."""
        shares = [(walker, paths[k :: len(walkers)]) for k, walker in enumerate(walkers)]
        found = side_by_side(lambda share: [work(share[0], path) for path in share[1]], shares, threads)
        return list(chain(*found))

    def _draw(self, walker: Walker, evaluations: int) -> list[Path]:
        """The best few schedules by random rules, or by rules close to those of a path; as many as there are walks."""
        rng, found, params = walker.rng, list[Path](), self.params
        walker.horizon = self.horizon
        hopeless = self.best * walker.params.hopeless if np.isinf(self.horizon) else np.inf
        for _ in range(evaluations):
            if walker.over(self.control):
                break
            limit = min(hopeless, found[-1].value) if len(found) == params.walks else hopeless
            path, until = None, 0.0
            rule: Keyed = random_groups(rng, walker.scales)
            if self.paths:
                path = self.paths[int(rng.integers(len(self.paths)))]
                until = self.since + rng.random() * (self.until - self.since)
                rule = path.rule_at(until).nearby(rng, params.distance) if rng.random() < params.near else rule
            refilled = random_deferrable_offset(rng) if path is not None and walker.scales.deferrable else None
            reached = walker.follow(self._sized(rule, refilled), limit, path, until)
            if reached is not None:
                found = sorted([*found, reached], key=VALUE)[: params.walks]
        return found

    def _sized(self, rule: Keyed, deferrable_offset: float | None = None) -> MicrobatchGroups:
        """The rule with groups of the given sizes, and with another deferral of weight gradients, if one is given."""
        assert isinstance(rule, MicrobatchGroups)
        sized = replace(rule, given=self.sizes, carried=0)
        return sized if deferrable_offset is None else replace(sized, deferrable_offset=deferrable_offset)

    def _walk(self, walker: Walker, path: Path, steps: int) -> Path:
        """A walk over rules close to the path's last one, from the same time on; slightly worse ones are accepted."""
        rng, best = walker.rng, path
        until = path.since[-1][0]
        for step in range(steps):
            if walker.over(self.control):
                break
            worse = self.best * self.params.worse * (1.0 - step / steps)
            near = path.since[-1][1].nearby(rng, 0.2 if rng.random() < 0.7 else 0.05)
            path = walker.follow(near, path.value + worse, path, until) or path
            best = min(best, path, key=VALUE)
        return best


def _best(paths: Sequence[Path], count: int) -> list[Path]:
    """The best ``count`` paths, each once."""
    return sorted({id(path): path for path in paths}.values(), key=VALUE)[:count]
