"""Local search on the placement: moves operators to other devices, and keeps moves that shorten the schedule.

With few tasks, placements are annealed by the makespan of a list schedule: on an irregular graph the path to a better
placement leads through worse ones. Where operators have alternatives, many moves change versions instead of devices
(``planner.placement.versions.flipped``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.common.tolerance import SAME
from planner.placement.loads import Loads
from planner.placement.merge import merge
from planner.placement.versions import flipped
from planner.problem import Placement, Problem
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.search.params import MoveParams
from planner.search.state import SearchState
from planner.search.steps.anneal_orders import anneal
from planner.search.steps.vary_rules import vary

ROUNDS = "moving operators"
"""Key of ``SearchState.rounds``: the rounds of all steps that move operators."""


@dataclass(frozen=True)
class MoveOperators:
    """Move operators of the best placement; keep moves that shorten the schedule.

    ``annealed``: accept longer schedules, too, less and less. ``tuned``: then vary rules and anneal orders.
    """

    annealed: bool = False
    tuned: bool = False

    @property
    def name(self) -> str:
        """How operators are moved."""
        return f"{'anneal placements' if self.annealed else 'move operators'}{' and tune' if self.tuned else ''}"

    def supports(self, state: SearchState) -> bool:
        """Whether the layout is free, anything has been scheduled, and annealing would not take too long."""
        short = not self.annealed or state.tasks <= state.params.move.annealed_at_most
        return state.problem.layout == "auto" and bool(state.searches) and short

    def run(self, state: SearchState) -> None:
        """A round of moves."""
        moved = self._moved(state)
        if moved is None or not self.tuned:
            return
        vary(state, moved, state.params.vary.after_move)
        anneal(state, moved, state.params.anneal.after_move)

    def _moved(self, state: SearchState) -> ListSearch | None:
        """The search of the best placement reached; None where nothing has been scheduled."""
        first = not self.tuned and not self.annealed
        reached = [self._moved_from(state, search) for search in (_origins(state) if first else state.ranked[:1])]
        return min(reached, key=lambda search: search.seconds, default=None)

    def _moved_from(self, state: SearchState, search: ListSearch) -> ListSearch:
        state.rounds[ROUNDS] += 1
        round_ = state.rounds[ROUNDS]
        before, narrow = search.seconds, bottleneck(search)
        params = state.params.move
        heat = Heat.of(params, state.tasks) if self.annealed else Heat.none(params, state.tasks)
        moved = move_groups(state, search, (state.seed, round_), heat)
        if moved is not search:
            state.add(moved, search)
        where = " to ".join(state.problem.cluster.devices[d].name for d in narrow.devices)
        state.notes.append(
            f"round {round_} of moving operators: the busiest resource was the {narrow.kind} of {where} "
            f"({narrow.seconds:.6g} s); makespan {before:.6g} -> {min(before, moved.seconds):.6g} s"
        )
        return moved


def _origins(state: SearchState) -> list[ListSearch]:
    """Where moves begin the first time: the best search; with alternatives also that on other devices."""
    if not state.problem.free:
        return state.ranked[:1]
    return state.ranked_by_devices[: state.params.move.origins]


@dataclass(frozen=True)
class Heat:
    """How many moves a search on placements makes, and what it accepts."""

    moves: int
    still: int = 0  # or until so many in a row are not accepted; 0: never
    justified: int = 0  # rounds of justification of each schedule
    hot: float = 0.0  # first temperature, x the best makespan: longer schedules are accepted by it (Metropolis)
    cold: float = 0.0  # last temperature
    tuning: int = 0  # list schedules that fit rules to a new placement

    @staticmethod
    def none(params: MoveParams, tasks: int) -> Heat:
        """Only what is shorter, for a problem of so many tasks."""
        return Heat(min(params.moves, params.move_tasks // tasks), params.still, params.justified)

    @staticmethod
    def of(params: MoveParams, tasks: int) -> Heat:
        """Annealing for a problem of so many tasks."""
        moves = min(params.annealed_moves, params.annealed_tasks // tasks)
        tuning = min(params.tuning, params.tuning_tasks // tasks)
        return Heat(moves, hot=params.hot, cold=params.cold, tuning=tuning)

    def accepted(self, step: int, seconds: float, best: float, rng: np.random.Generator) -> float:
        """The longest makespan that is accepted after so many moves from one of ``seconds``."""
        if self.hot <= 0.0:
            return seconds * (1 - SAME)
        temperature = best * self.hot * float((self.cold / self.hot) ** (step / self.moves))
        return seconds + temperature * float(rng.exponential())


def move_groups(state: SearchState, current: ListSearch, seed: tuple[int, int], heat: Heat) -> ListSearch:
    """Move operators, alone or in merged groups; the search of the best placement reached.

    ``seed``: the user's, and the round. A placement is scheduled by the few rules that were best on the one before, and
    compared by what these (and a little justification, see ``Heat``) make of both: other methods have shortened the
    schedule of the one before. It is not scheduled if its busiest stream or channel alone works too long. The best in
    the end is justified.
    """
    incumbent, params, threads = state.incumbent, state.params.move, state.free_threads
    problem, control = incumbent.problem, incumbent.control
    if problem.n_devices == 1 and not problem.free:
        return current
    rng = np.random.default_rng(seed)
    beside = threads if state.tasks >= params.beside else 1
    groups = [*merge(problem), *problem.groups]
    tried = {current.classes.placement.key: current.seconds}  # makespan in seconds, or a limit that it exceeds
    loads, busiest, origin, best = Loads(problem.relaxed), bottleneck(current).devices, current, current
    known = by_known_rules(
        state, current.classes.placement, current, np.inf, params.rules_tried, heat.justified, beside
    )
    if known.best is None:  # no rules are known there
        return current
    now = shortest = known.seconds
    plain = known.seconds_by_rules
    still = 0
    for step in range(heat.moves):
        if incumbent.met or 0 < heat.still <= still:
            break
        still += 1
        limit = heat.accepted(step, now, shortest, rng)
        before = current.classes.placement
        if problem.free and rng.random() < params.flipped:
            placement = flipped(problem, before, busiest, rng, params.from_busiest, params.on_each)
        else:
            placement = other_devices(problem, before, groups, busiest, rng, params)
        if placement is None or limit <= tried.get(placement.key, 0.0):
            continue
        control.report("moving operators between devices")
        tried[placement.key] = limit
        if loads.of_copies(placement) * problem.microbatches > limit:
            continue
        by_rules = plain * params.worse if heat.justified else limit
        try:
            search = by_known_rules(state, placement, current, by_rules, params.rules_tried, heat.justified, beside)
        except DoesNotFit:
            tried[placement.key] = np.inf
            continue
        if search.seconds > limit:
            continue
        if heat.tuning and (search.seconds < shortest or rng.random() < params.tuned):
            search.vary_rules(heat.tuning, control, incumbent.bound_of(placement), threads)
        now, plain = search.seconds, search.seconds_by_rules
        search.pool += sorted(current.pool, key=lambda entry: entry[0])[params.rules_tried :]
        tried[placement.key] = now
        current, busiest, still = search, bottleneck(search).devices, 0
        if search.seconds < best.seconds or (now < shortest and best is origin):
            best = search
            incumbent.offer_search(search, f"list scheduling on placement {placement.origin}")
        shortest = min(shortest, now)
    if best is not origin:
        best.justify(control)
        incumbent.offer_search(best, f"list scheduling on placement {best.classes.placement.origin}")
    return best


def by_known_rules(
    state: SearchState,
    placement: Placement,
    known: ListSearch,
    limit: float,
    count: int,
    justified: int | None,
    threads: int,
) -> ListSearch:
    """The search of a placement by the best ``count`` rules of another one; the best schedule is justified.

    It has no schedule where rules alone take longer than ``limit`` (seconds). ``justified``: rounds at most, None: the
    usual ones. Raises ``DoesNotFit``.
    """
    control = state.incumbent.control
    search = ListSearch.of(state.problem, placement, state.seed, state.params.schedule)
    rules = sorted(known.pool, key=lambda entry: entry[0])[:count]
    search.pool = search.try_rules([rule for _, rule in rules], limit / search.classes.tick, control, threads)
    control.spend(len(search.pool))
    search.justify(control, justified)
    return search


@dataclass(frozen=True)
class Bottleneck:
    """The busiest stream or channel of a schedule: its device or two devices, and the seconds of its work."""

    kind: str
    devices: tuple[int, ...]
    seconds: float


def bottleneck(search: ListSearch) -> Bottleneck:
    """The busiest stream or channel in the best schedule of a search."""
    classes, n_devices = search.classes, search.classes.problem.n_devices
    busy = np.zeros(classes.n_resources)
    for a, resources in enumerate(classes.resources):
        busy[list(resources)] += float(classes.seconds[a]) * int(classes.count[a])
    r = int(busy.argmax())
    if r < 2 * n_devices:
        return Bottleneck("communication stream" if r % 2 else "compute stream", (r // 2,), float(busy[r]))
    a = next(a for a, resources in enumerate(classes.resources) if r in resources)
    return Bottleneck("channel", (int(classes.device[a]), int(classes.target[a])), float(busy[r]))


def other_devices(
    problem: Problem,
    placement: Placement,
    groups: Sequence[Sequence[int]],
    busiest: Sequence[int],
    rng: np.random.Generator,
    params: MoveParams,
) -> Placement | None:
    """The placement with one or two groups of one copy moved; None where that is not allowed.

    Most moves go to the device of a neighbour in the graph, and half of them take from the ``busiest`` devices. A
    second group often takes the place of the first, so that loads stay about as they are.
    """
    device_of = [list(copy) for copy in placement.device_of]
    copy = device_of[int(rng.integers(len(device_of)))]
    left, runs_on = None, problem.runs_in_any_version
    for _ in range(int(rng.integers(1, 3))):
        there = [members for members in groups if any(copy[i] in busiest for i in members)]
        some = there if there and rng.random() < params.from_busiest else groups
        allowed: list[int] = []
        if left is not None and rng.random() < params.exchanged:
            back, target = left
            some = [members for members in groups if all(copy[i] == target for i in members)] or groups
            members = list(some[int(rng.integers(len(some)))])
            allowed = [back] if runs_on[members, back].all() else []
        else:
            members = list(some[int(rng.integers(len(some)))])
            neighbours = {copy[j] for i in members for j in (*problem.inputs[i], *problem.consumers[i])}
            near = rng.random() < params.near
            allowed = [
                d
                for d in (sorted(neighbours) if near else range(problem.n_devices))
                if runs_on[members, d].all() and any(copy[i] != d for i in members)
            ]
        if not allowed:
            return None
        target = int(rng.choice(allowed))
        left = copy[members[0]], target
        for i in members:
            copy[i] = target
    moved = replace(placement, device_of=tuple(map(tuple, device_of))).marked("operators moved")
    return moved if problem.allows_copies(moved) else None
