"""Everything that is compiled, compiled at once: after installation, or before the first search."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from planner.baselines import baseline_timetable
from planner.common.budget import Control
from planner.common.compiled import NOT_KEPT, is_compiled, uncached
from planner.exact.decomposition import Decomposition
from planner.placement.loads import Loads
from planner.problem import PASS_ORDER, Cluster, Device, DeviceType, Graph, Mode, Operator, Pass, Placement, Problem
from planner.scheduling.classes import build_classes
from planner.scheduling.list.microbatch_groups import MicrobatchGroups
from planner.scheduling.list_search import ListSearch
from planner.scheduling.orders.precedence import PrecedenceGraph
from planner.scheduling.retime import retime


def compile_all() -> None:
    """Schedule two operators, place one; numba keeps the machine code beside the source (or in its cache directory)."""
    kind = DeviceType("any")
    operators = (
        Operator("a", dict.fromkeys(PASS_ORDER, 1.0), activation=1.0, held_for_weight_grad=1.0),
        Operator("b", dict.fromkeys(PASS_ORDER, 1.0), inputs=("a",), activation=1.0, held_for_weight_grad=1.0),
    )
    problem = Problem(
        Graph("warm-up", Mode.TRAINING, 2, operators), Cluster("one", (Device("d", "d", kind),), {"any": kind}), 2
    )
    search = ListSearch.of(problem, Placement.single([0, 0]), seed=0)
    search.try_known_rules(Control())
    search.try_rule(MicrobatchGroups(1))
    search.anneal(1, Control(), 0.0)
    assert search.best is not None
    assert max(PrecedenceGraph.of(search.ordered, search.best).tail) > 0
    decomposition = Decomposition(problem, 1.0, 100)
    while decomposition.open:
        decomposition.step(lambda classes, start: None, Control())
    _warm_up_placements(kind)
    timetable = baseline_timetable("1f1b", problem)  # compiles the replay: numba is loaded by now
    classes = build_classes(problem, timetable.placement)
    start = classes.starts_of(timetable)
    assert start is not None and retime(classes, start) is not None


def _warm_up_placements(kind: DeviceType) -> None:
    """An operator that may run on either of two devices."""
    cluster = Cluster("two", (Device("d", "d", kind), Device("e", "e", kind)), {"any": kind})
    two = Problem(Graph("two", Mode.INFERENCE, 1, (Operator("a", {Pass.F: 1.0}),)), cluster, 1)
    assert Loads(two).anneal((0,), 10, 0.0, Control(), np.random.default_rng(0)) is not None


def compile_if_needed(control: Control, first: Callable[[], None] = lambda: None) -> None:
    """Compile before the first search of an installation, on time that does not count, and say so.

    ``first``: what to do before the wait, such as to have a plan ready.
    """
    if not is_compiled():
        first()
        control.say("compiling the search, once: about a minute, which does not count against the time limit")
        with control.clock.pause():
            compile_all()
        if uncached:
            control.say(NOT_KEPT)
