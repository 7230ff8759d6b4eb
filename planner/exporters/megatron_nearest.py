"""The choice of recomputation that is exported to Megatron: the plan's, or the nearest that Megatron can run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.exporters import CannotExport
from planner.exporters.layers import Chunk
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
from planner.exporters.variants import in_variants, variants_of
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.problem.graph import BASE
from planner.report.words import seconds


@dataclass(frozen=True)
class Chosen:
    """A choice, the variants of all operators under it (empty: all base), and remarks."""

    choice: Choice
    variants: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placed:
    """A plan on Megatron's ranks."""

    plan: Plan
    problem: Problem | None
    chunks: Sequence[Chunk]
    ranks: Sequence[str]

    def as_run(self, chosen: Chosen) -> Problem:
        """The problem with the operators as Megatron runs them, without alternatives."""
        assert self.problem is not None
        return in_variants(self.problem, chosen.variants)


@dataclass(frozen=True)
class _Candidate:
    chosen: Chosen
    makespan: float  # in Megatron's order
    over: Shortage | None  # None: it fits in memory there


def on_comm(plan: Plan) -> frozenset[str]:
    """The operators on the comm stream."""
    return frozenset(task.operator for task in plan.tasks if task.stream == "comm")


def _of_no_length(plan: Plan) -> frozenset[str]:
    """The operators that take no time at all."""
    return frozenset(p.operator for p in plan.placement) - {t.operator for t in plan.tasks if t.end > t.start}


def chosen_for(flow: Placed, names: Mapping[str, Way], repair: bool) -> Chosen:
    """The plan's choice or, with ``repair``, the nearest that fits; else raises ``CannotExport`` with its cost."""
    variants = variants_of(flow.plan)
    recomputing = Recomputing(variants, names, flow.problem, on_comm(flow.plan) | _of_no_length(flow.plan))
    found = said(recomputing, flow.chunks)
    if found.choice is not None:
        own = {} if flow.problem is None else variants_in(found.choice, flow.chunks, recomputing)
        remark = (f"recomputation: {found.choice}",) if variants else ()
        return Chosen(found.choice, own, (*remark, *found.notes))
    if flow.problem is None:
        raise CannotExport(f"{found.reason}; for the cost of the nearest choice that it can run {GIVE_FILES}")
    best = _nearest(flow, recomputing)
    if not repair or best.over is not None:
        raise CannotExport(f"{found.reason}; {_offer(flow, recomputing, best)}")
    notes = (f"repaired: {best.chosen.choice}, since {found.reason}", *found.notes)
    return Chosen(best.chosen.choice, best.chosen.variants, notes)


def _nearest(flow: Placed, recomputing: Recomputing) -> _Candidate:
    """The shortest in Megatron's order of those that fit in memory there; if none does, the one that lacks least."""
    found = [_candidate(flow, recomputing, choice) for choice in choices(flow.chunks, recomputing)]

    def rank(c: _Candidate) -> tuple[bool, float]:
        return (False, c.makespan) if c.over is None else (True, c.over.needs - c.over.cap)

    return min(found, key=rank)


def _candidate(flow: Placed, recomputing: Recomputing, choice: Choice) -> _Candidate:
    chosen = Chosen(choice, variants_in(choice, flow.chunks, recomputing))
    other = flow.as_run(chosen)
    timetable = own_order(other, flow.chunks, flow.ranks)
    return _Candidate(chosen, timetable.makespan(other), shortage(other, timetable))


def _offer(flow: Placed, recomputing: Recomputing, best: _Candidate) -> str:
    """The nearest choice, what it takes, and how to get it."""
    order, choice = order_name(flow.chunks, flow.ranks), best.chosen.choice
    if best.over is not None:
        return f"nothing that it can run fits in memory in its order ({order}): with {choice}, {best.over}"
    takes = f"{seconds(best.makespan)} in Megatron's order ({order})"
    other = flow.as_run(best.chosen)
    assert flow.problem is not None
    planned = plans_order(flow.plan, flow.problem, other)
    if planned is not None:
        takes += f", {seconds(planned.makespan(other))} in the plan's"
    takes += f", where the plan takes {seconds(flow.plan.makespan)}"
    name = _variant_name(recomputing, choice)
    plans = "" if name is None else f", and planner solve GRAPH CLUSTER --variants {name} plans that"
    return f"the nearest that fits is {choice}: {takes}; --repair exports it{plans}"


def _variant_name(recomputing: Recomputing, choice: Choice) -> str | None:
    """The name of ``--variants`` that restricts a plan to a choice; None where there is none."""
    if choice.first is not None:
        return None
    if choice.way is Way.NONE:
        return BASE
    assert recomputing.problem is not None
    some = (v for o in recomputing.problem.operators for v in o.versions[1:])
    return next((name for name in some if recomputing.names.get(name) is choice.way), None)


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
