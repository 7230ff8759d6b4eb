"""What is exported to Megatron: the plan's placement and recomputation, or the nearest plan that Megatron can run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from planner.exporters import CannotExport
from planner.exporters.balanced import balanced
from planner.exporters.layers import Chunk, Layer
from planner.exporters.megatron_layout import check_stages, letters_of
from planner.exporters.megatron_order import Shortage, order_name, own_order, plans_order, shortage
from planner.exporters.megatron_recompute import (
    Choice,
    Recomputing,
    Way,
    choices,
    has_dense_mlp,
    said,
    variants_in,
)
from planner.exporters.source import GIVE_FILES
from planner.exporters.staged import Unsayable, chunks_of, devices_of, on_comm, ranks_of
from planner.exporters.variants import in_variants, variants_of
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.problem.graph import BASE
from planner.report.words import apart, percent, seconds, size
from planner.timetable.memory import memory_profile


class DoesNotFit(Unsayable):
    """In the framework's own order the plan's placement needs more memory than there is."""


@dataclass(frozen=True)
class Chosen:
    """A choice, the variants of all operators under it (empty: all base), and remarks."""

    choice: Choice
    variants: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placed:
    """Whole layers on Megatron's ranks, and how they recompute. ``problem``: None without the plan's files."""

    problem: Problem | None
    chunks: Sequence[Chunk]
    ranks: Sequence[str]
    chosen: Chosen

    @property
    def as_run(self) -> Problem:
        """The problem with the operators as Megatron runs them, without alternatives."""
        assert self.problem is not None
        return in_variants(self.problem, self.chosen.variants)

    @property
    def order(self) -> str:
        """The name of the order that Megatron runs."""
        return order_name(self.chunks, self.ranks)


@dataclass(frozen=True)
class Replayed:
    """A placement in Megatron's own order."""

    placed: Placed
    makespan: float
    over: Shortage | None  # None: it fits in memory
    fullest: tuple[str, float]  # the device with the highest peak, and its bytes

    @classmethod
    def of(cls, placed: Placed) -> Replayed:
        """Replay it; raises ``CannotExport`` where a stage reads a later one."""
        problem = placed.as_run
        timetable = own_order(problem, placed.chunks, placed.ranks)
        peaks = [profile.peak for profile in memory_profile(problem, timetable)]
        top = int(np.argmax(peaks))
        return cls(
            placed,
            timetable.makespan(problem),
            shortage(problem, timetable),
            (problem.cluster.devices[top].name, peaks[top]),
        )


@dataclass(frozen=True)
class Asked:
    """A plan, its layers, and what the user says about recomputation.

    ``blocks``: whether the framework can recompute the first layers of every stage alone (Megatron can). ``program``:
    its name.
    """

    plan: Plan
    problem: Problem | None
    layers: Sequence[Layer]
    names: Mapping[str, Way]
    blocks: bool = True
    program: str = "Megatron"

    @property
    def recomputing(self) -> Recomputing:
        """The plan's variants and their meaning; raises ``CannotExport`` where copies are in different ones."""
        idle = frozenset(p.operator for p in self.plan.placement) - {
            t.operator for t in self.plan.tasks if t.end > t.start
        }
        return Recomputing(variants_of(self.plan), self.names, self.problem, on_comm(self.plan) | idle)


def as_planned(asked: Asked, chunks: Sequence[Chunk], ranks: Sequence[str]) -> Placed:
    """The plan's own placement and recomputation; raises ``Unsayable`` where the framework cannot recompute so."""
    recomputing = asked.recomputing
    found = said(recomputing, chunks)
    if not asked.blocks and (found.choice is None or found.choice.first is not None):
        raise Unsayable(
            f"its decoder layers are not all recomputed alike, and {asked.program} recomputes all in one way"
        )
    if found.choice is None:
        raise Unsayable(found.reason)
    own = {} if asked.problem is None else variants_in(found.choice, chunks, recomputing)
    remark = (f"recomputation: {found.choice}",) if recomputing.variants else ()
    notes = (note.replace("Megatron", asked.program) for note in found.notes)
    return Placed(asked.problem, chunks, ranks, Chosen(found.choice, own, (*remark, *notes)))


def offered(asked: Asked, reason: Unsayable, *, repair: bool, over_memory: bool) -> Replayed:
    """The nearest plan that the framework can run, instead of one that it cannot.

    Raises ``CannotExport`` with the reason, the nearest plan, its makespan and memory, unless ``repair`` is set; where
    nothing fits in memory, ``over_memory`` has to be set, too.
    """
    if asked.problem is None or not asked.problem.training:
        why = "" if asked.problem else f"; for the nearest plan that it can run, and its cost, {GIVE_FILES}"
        raise CannotExport(f"{reason}{why}")
    own = _own_chunks(asked)
    best = nearest(asked, own, stages_first=not isinstance(reason, DoesNotFit))
    if best is None:
        raise CannotExport(f"{reason}; there is no other division of these layers over its ranks")
    if not repair or (best.over is not None and not over_memory):
        raise CannotExport(f"{reason}; {_offer(asked, best, own)}")
    return best


def nearest(asked: Asked, own: Sequence[Chunk] | None, *, stages_first: bool) -> Replayed | None:
    """The shortest in the framework's order that fits in memory there; if none does, the one that lacks least.

    Of the plan's own stages (``own``, None where they cannot be said) with any recomputation, and of whole layers dealt
    out evenly, with as many stages a rank as the plan has, half of them, and so on. ``stages_first``: those only where
    the plan's own stages do not fit.
    """
    found: list[Replayed] = []
    if own is not None:
        found += _tried(asked, own)
    if not (stages_first and any(each.over is None for each in found)):
        for chunks in _layouts(asked):
            if chunks != own:
                found += _tried(asked, chunks)

    def rank(c: Replayed) -> tuple[bool, float]:
        return (False, c.makespan) if c.over is None else (True, c.over.needs - c.over.cap)

    return min(found, key=rank, default=None)


def _own_chunks(asked: Asked) -> list[Chunk] | None:
    """The plan's stages, where they are on Megatron's ranks; None elsewhere."""
    try:
        chunks = chunks_of(asked.layers, devices_of(asked.plan))
        check_stages(chunks, ranks_of(asked.plan), asked.plan.microbatches)
    except CannotExport:
        return None
    return chunks


def _layouts(asked: Asked) -> Iterator[list[Chunk]]:
    """Whole layers dealt out evenly."""
    assert asked.problem is not None
    ranks, microbatches = ranks_of(asked.plan), asked.plan.microbatches
    virtual = _stages_a_rank(asked, len(ranks))
    base = asked.problem.default
    devices = {device.name: d for d, device in enumerate(base.cluster.devices)}
    seen: list[list[Chunk]] = []
    for each in (virtual >> k for k in range(virtual.bit_length())):
        for fitting in (False, True) if each == 1 else (False,):
            chunks = balanced(base, asked.layers, ranks, each, fitting=fitting)
            if chunks is None or chunks in seen:
                continue
            seen.append(chunks)
            try:
                check_stages(chunks, ranks, microbatches)
            except CannotExport:
                continue
            at = {name: devices[c.device] for c in chunks for layer in c.layers for name in layer.operators}
            if base.allows([at[operator.name] for operator in base.operators]):
                yield chunks


def _stages_a_rank(asked: Asked, ranks: int) -> int:
    """Roughly how many stages the plan has on every rank; 1 where the layers are too few for more."""
    devices: dict[str, str] = {}
    for task in asked.plan.tasks:
        devices.setdefault(task.operator, task.device)
    along = [devices[layer.operators[0]] for layer in asked.layers if layer.operators[0] in devices]
    changes = 1 + sum(a != b for a, b in pairwise(along))
    return max(1, min(round(changes / ranks), len(asked.layers) // ranks))


def _tried(asked: Asked, chunks: Sequence[Chunk]) -> Iterator[Replayed]:
    """Stages with every choice of recomputation that may be the best: more of it only where less does not fit."""
    recomputing = asked.recomputing
    ranks = ranks_of(asked.plan)

    def replayed(choice: Choice) -> Replayed | None:
        chosen = Chosen(choice, variants_in(choice, chunks, recomputing))
        try:
            return Replayed.of(Placed(asked.problem, chunks, ranks, chosen))
        except CannotExport:
            return None

    every = list(choices(chunks, recomputing))
    for choice in (c for c in every if c.first is None):
        found = replayed(choice)
        if found is not None:
            yield found
            if choice.way is Way.NONE and found.over is None:
                return
    partly = [c for c in every if c.first is not None] if asked.blocks else []
    low, high = 0, len(partly)  # the least number of layers that fits: memory falls with it
    while low < high:
        middle = (low + high) // 2
        found = replayed(partly[middle])
        if found is not None:
            yield found
        low, high = (low, middle) if found is not None and found.over is None else (middle + 1, high)


def _offer(asked: Asked, best: Replayed, own: Sequence[Chunk] | None) -> str:
    """The nearest plan, what it takes, and how to get it."""
    placed, choice = best.placed, best.placed.chosen.choice
    what = str(choice)
    if placed.chunks != own:
        stages = len(placed.chunks) // len(placed.ranks)
        each = "one stage" if stages == 1 else f"{stages} stages"
        what = f"{letters_of(placed.chunks)} ({each} a rank, {choice})"
    if best.over is not None:
        return (
            f"nothing that it can run fits in memory in its order ({placed.order}): with {what}, {best.over}; "
            "--repair --over-memory exports that"
        )
    assert asked.problem is not None
    own_time, plans_time = apart(seconds, best.makespan, asked.plan.makespan)
    takes = f"{own_time} in {asked.program}'s order ({placed.order})"
    planned = plans_order(asked.plan, asked.problem, placed.as_run) if placed.chunks == own else None
    if planned is not None:
        takes += f", {seconds(planned.makespan(placed.as_run))} in the plan's"
    rise = best.makespan / asked.plan.makespan - 1.0 if asked.plan.makespan > 0.0 else 0.0
    more = f" ({percent(rise)} more)" if rise > 1e-9 else ""
    takes += f", where the plan takes {plans_time}{more}, and at most {size(best.fullest[1])} ({best.fullest[0]})"
    name = _variant_name(asked, choice)
    plans = (
        ""
        if name is None or placed.chunks != own
        else f", and planner solve GRAPH CLUSTER --variants {name} plans that"
    )
    return f"the nearest that fits is {what}: {takes}; --repair exports it{plans}"


def _variant_name(asked: Asked, choice: Choice) -> str | None:
    """The name of ``--variants`` that restricts a plan to a choice; None where there is none."""
    if choice.first is not None:
        return None
    assert asked.problem is not None
    some = [v for o in asked.problem.operators for v in o.versions[1:]]
    if choice.way is Way.NONE:
        return BASE if some else None
    return next((name for name in some if asked.names.get(name) is choice.way), None)


def modules_asked(text: str | None) -> tuple[str, ...]:
    """The modules of ``--recompute-modules``."""
    return tuple((text or "").replace(",", " ").split())


def selective_notes(choice: Choice, chunks: Sequence[Chunk], asked: str | None) -> Iterator[str]:
    """What selective recomputation in Megatron is not."""
    if choice.way is not Way.SELECTIVE or asked is not None:
        return
    yield "multi-latent attention: add mla_up_proj, as in --recompute-modules layernorm,moe_act,mla_up_proj"
    if has_dense_mlp(chunks):
        yield (
            "Megatron keeps the outputs of activation functions in dense MLPs, which selective recomputation of "
            "planner import hf drops: leave memory for them"
        )
