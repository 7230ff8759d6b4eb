"""The search on one page: which steps there are, and in which order.

``planner.search.searching`` runs them. Each step offers what it finds to the incumbent and ends as soon as that is
met. Unless the deadline cuts it off, a search with the same seed always takes the same course. The exact models come
late, since one of them may take all the time that is left. Steps without an end of their own take turns.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.common.ahead import Ahead
from planner.search.adaptive import Adaptive
from planner.search.state import SearchState
from planner.search.step import Step
from planner.search.steps.anneal_orders import AnnealBest, AnnealSome
from planner.search.steps.beam_search import BeamSearch
from planner.search.steps.bounds import CheapBounds, DearBounds, OnlyPlacementBound
from planner.search.steps.change_placement import ChangePlacement
from planner.search.steps.counting import Counting
from planner.search.steps.exact import Exact
from planner.search.steps.lns_windows import LnsWindows
from planner.search.steps.mixed_choices import MixedChoices
from planner.search.steps.modulo_schedules import ModuloSchedules
from planner.search.steps.move_operators import MoveOperators
from planner.search.steps.placements import AnyThatFits, FamilyPlacements, ProposePlacements
from planner.search.steps.prefixes import Prefixes
from planner.search.steps.restart import Restart
from planner.search.steps.starts import Starts
from planner.search.steps.steady_state import SteadyState
from planner.search.steps.uniform_choices import UniformChoices
from planner.search.steps.vary_rules import VaryRules


def expected(state: SearchState) -> float:
    """The expected gain of a step that has not been tried, relative to the makespan, for its cost."""
    return state.params.adaptive.expected


def expected_of_searches(state: SearchState) -> float:
    """The same for new searches on the best placement, and for moves of operators: higher with many tasks."""
    return expected(state) * (state.params.adaptive.searches if state.has_many_tasks else 1.0)


def expected_of_changes(state: SearchState) -> float:
    """The same for changes of placements and for prefixes: the highest with many tasks, so that they come first."""
    return expected(state) * (state.params.adaptive.changes if state.has_many_tasks else 1.0)


def expected_of_beam(state: SearchState) -> float:
    """The same for a beam search, which comes after all others have been tried."""
    return expected(state) * state.params.adaptive.beam


def expected_of_annealing(state: SearchState) -> float:
    """The same for annealing placements: higher with few tasks, where a list schedule takes little time."""
    return expected(state) if state.has_many_tasks else state.params.adaptive.annealed_placements


IN_TURNS = Adaptive(
    (
        (ChangePlacement(), expected_of_changes, 1.0),
        (Prefixes(), expected_of_changes, 1.0),
        (MoveOperators(tuned=True), expected_of_searches, 2.0),
        (Restart(), expected_of_searches, 2.0),
        (BeamSearch(), expected_of_beam, 5.0),
        (LnsWindows(), expected, 2.0),
        (MoveOperators(annealed=True, tuned=True), expected_of_annealing, 1.0),
    )
)

OPENING: tuple[Step, ...] = (
    CheapBounds(),
    OnlyPlacementBound(),
    ModuloSchedules(),
    SteadyState(early=True),
    FamilyPlacements(),
    Starts(),
    AnyThatFits(),
)
"""After the baselines: a first plan of any problem."""

LARGE: tuple[Step, ...] = (
    DearBounds(),
    UniformChoices(),
    MixedChoices(),
    ProposePlacements(),
    MoveOperators(),
    VaryRules(at_length=False),
    AnnealBest(),
    SteadyState(),
    IN_TURNS,
    Counting(),
)
"""Many tasks: rules shape the whole schedule, and annealing is intensification only."""

SMALL: tuple[Step, ...] = (
    Exact("first"),
    DearBounds(),
    AnnealSome("first"),
    UniformChoices(),
    MixedChoices(),
    Exact("more"),
    Counting(small=True),
    ProposePlacements(),
    MoveOperators(),
    AnnealSome("some"),
    VaryRules(),
    AnnealBest(),
    Exact("more"),
    Counting(),
    IN_TURNS,
    Exact("all"),
)
"""Few tasks: annealing shapes the schedule, and exact models may prove it optimal."""

BRIEF: tuple[Step, ...] = (AnnealSome("brief"),)
"""For a question that is asked many times: a little annealing after the opening."""

ON_PLACEMENT_LARGE: tuple[Step, ...] = (VaryRules(), BeamSearch(), AnnealBest())
ON_PLACEMENT_SMALL: tuple[Step, ...] = (AnnealBest(), VaryRules())
"""The best schedule of one placement, with many tasks and with few."""


def programme(state: SearchState, brief: bool = False) -> tuple[Step, ...]:
    """The steps after the opening."""
    if brief:
        return BRIEF
    return LARGE if state.has_many_tasks else SMALL


def begin_ahead(state: SearchState, steps: Sequence[Step]) -> None:
    """Begin what later steps need and nothing found before changes, in the order in which they need it.

    Not with few tasks: they are often solved before it is needed.
    """
    if steps is LARGE:
        state.ahead = Ahead(state.incumbent.control, state.threads)
        DearBounds().begin(state, state.ahead)
        ProposePlacements().begin(state, state.ahead)


def on_placement(state: SearchState) -> tuple[Step, ...]:
    """The steps after one placement has been scheduled."""
    return ON_PLACEMENT_LARGE if state.has_many_tasks else ON_PLACEMENT_SMALL
