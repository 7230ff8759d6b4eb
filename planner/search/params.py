"""The numbers that steer the search, a dataclass for each step, each number explained where it stands.

Effort is counted in evaluations, moves and nodes, never in seconds: with the same seed the search goes the same way.
``SearchParams()`` is what ``planner solve`` runs with; ``SearchParams.for_tests()`` is the same programme with less
effort for each step.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from planner.scheduling.params import AnnealParams, ScheduleParams


@dataclass(frozen=True)
class ReadyParams:
    """When a verified plan is made ready while placements are tried: at the end there may be too little time."""

    after: float = 0.25  # share of the time limit before which none is made
    longer: float = 10.0  # x the time that making it took: so long until it is made again


@dataclass(frozen=True)
class PlacementParams:
    """Placements that are proposed and scheduled by known rules."""

    promising: float = 1.4  # x the best makespan: a placement is given up where its known rules do worse
    few_microbatches: int = 4  # up to so many, and
    many_operators: int = 500  # from so many operators on, placement by earliest finish is tried at once
    assignment_nodes: int = 1  # the root of the assignment MIP: schedules judge what it proposes, not its proof


@dataclass(frozen=True)
class VaryParams:
    """Rules of the list scheduler varied."""

    evaluations: int = 3_000  # list schedules
    placements: int = 3  # the best so many placements have their rules varied,
    compared: float = 0.15  # each for such a share of the evaluations; the best of them then for all
    long: int = 60_000  # tasks up to which the best placement is varied for longer: the fewer tasks, the longer
    suggesting: float = 0.4  # share of the evaluations that suggest sizes of groups to the beam search
    after_move: float = 0.5  # share of the evaluations after operators have been moved


@dataclass(frozen=True)
class AnnealOrdersParams:
    """Orders of the best schedules annealed. A halving: how many searches, and rounds for each, stage by stage."""

    first: tuple[tuple[int, int], ...] = ((5, 1), (2, 2))  # on the placements of families
    some: tuple[tuple[int, int], ...] = ((1, 4),)  # on the best of all placements
    brief: tuple[tuple[int, int], ...] = ((3, 1), (1, 2))  # for a question that is asked many times
    rounds: int = 12  # on the very best,
    still: int = 3  # as long as not so many in a row gain nothing
    after_move: int = 2  # rounds after operators have been moved


@dataclass(frozen=True)
class MoveParams:
    """Local search on the placement: groups of operators to another device."""

    moves: int = 400  # where only shorter schedules are accepted
    annealed_at_most: int = 5_000  # tasks: with more, placements are not annealed
    annealed_tasks: int = 4_000_000  # tasks scheduled in an annealing of placements,
    annealed_moves: int = 2_500  # and its moves at most
    hot: float = 0.015  # first temperature, x the best makespan
    cold: float = 0.0003  # last temperature, in the same unit
    tuning: int = 60  # list schedules that fit rules to a placement,
    tuning_tasks: int = 200_000  # tasks in them at most,
    tuned: float = 0.1  # and how often that is done where nothing is better
    rules_tried: int = 3  # of the rules that were best on the placement before
    near: float = 0.7  # share of the moves that go to a neighbour's device
    exchanged: float = 0.5  # share of the second moves that fill the gap of the first
    from_busiest: float = 0.5  # share of the moves that take something from the devices of the bottleneck


@dataclass(frozen=True)
class LnsParams:
    """LNS windows: parts of the best schedule ordered anew by a MIP. Effort: free pairs and simplex iterations."""

    session: int = 100_000  # effort of a session: some ten seconds
    at_once: int = 4  # windows of a round: solved side by side, their new orders put together
    nodes: int = 10  # of the tree of a window: what these do not find is sooner found in another window
    size: int = 100  # tasks of a first window,
    smallest: int = 12  # and of the smallest
    pairs: int = 100  # free pairs, and
    effort: int = 1_500  # effort of the solver, from which on a kind's windows are too large
    grows: float = 1.05  # x the size where the solver exhausts a small window,
    shrinks: float = 0.8  # and where it does not
    reach: int = 8  # places that a task may move past,
    far: int = 20  # and where only some microbatches move
    forgets: float = 0.99  # what an improvement still counts for after another window of its kind
    prior: float = 0.2  # improvements that every kind is credited with at first


@dataclass(frozen=True)
class RestartParams:
    """The best placement searched anew with another seed."""

    close: float = 0.02  # a schedule this close to its placement's bound (relatively) is not searched anew
    rounds: int = 6  # of annealing afterwards


@dataclass(frozen=True)
class SteadyStateParams:
    """A few microbatches scheduled, and their steady-state pattern repeated."""

    few: int = 4  # microbatches for each device at least: warm-up, drain and some patterns between
    annealed: int = 3  # schedules of few microbatches whose pattern is annealed,
    annealings: int = 10  # so many rounds each,
    times: int = 3  # the pattern run so many times meanwhile
    too_many: int = 100_000  # tasks from which on it comes before schedules of the whole step


@dataclass(frozen=True)
class CountingParams:
    """The counting model, asked for ever shorter schedules of one placement."""

    nodes: int = 500
    placements: int = 2  # the best so many are asked about
    small: int = 4_000  # variables of a model that is asked before placements are moved about


@dataclass(frozen=True)
class OrderVariablesParams:
    """The model with order variables, asked for ever shorter schedules of a small problem."""

    nodes: int = 20_000
    rounds: int = 50
    look_ahead: tuple[float, ...] = (0.0, 0.5, 2.0, 1e6)  # of the list schedules that its starts lead


@dataclass(frozen=True)
class AdaptiveParams:
    """Which step comes next: gains are relative to the makespan."""

    expected: float = 5e-4  # gain that is expected of a step that has not been tried
    least: float = 1e-4  # expected gain below which a step is given up
    annealed_placements: float = 2e-3  # gain that is expected of annealing placements where a step has few tasks
    learning: float = 2.0  # x the expected gain of LNS windows of many tasks: at first they learn what pays
    beam: float = 0.2  # x the expected gain of a restart that needs a beam search: it takes that much longer


@dataclass(frozen=True)
class PeriodParams:
    """The placement of the least period."""

    moves: int = 400_000  # of one annealing: about a second for a hundred operators
    walkers: int = 4  # annealings
    model_share: float = 0.5  # of the time that is left, what the integer program may take


@dataclass(frozen=True)
class SearchParams:
    """All of the search."""

    schedule: ScheduleParams = field(default_factory=ScheduleParams)
    ready: ReadyParams = field(default_factory=ReadyParams)
    placements: PlacementParams = field(default_factory=PlacementParams)
    vary: VaryParams = field(default_factory=VaryParams)
    anneal: AnnealOrdersParams = field(default_factory=AnnealOrdersParams)
    move: MoveParams = field(default_factory=MoveParams)
    lns: LnsParams = field(default_factory=LnsParams)
    restart: RestartParams = field(default_factory=RestartParams)
    steady_state: SteadyStateParams = field(default_factory=SteadyStateParams)
    counting: CountingParams = field(default_factory=CountingParams)
    order_variables: OrderVariablesParams = field(default_factory=OrderVariablesParams)
    adaptive: AdaptiveParams = field(default_factory=AdaptiveParams)
    period: PeriodParams = field(default_factory=PeriodParams)

    @staticmethod
    def for_tests() -> SearchParams:
        """The same steps in the same order with little effort for each: a small problem takes about a second."""
        whole = SearchParams()
        return replace(
            whole,
            schedule=replace(whole.schedule, anneal=AnnealParams(iterations_at_most=500)),
            vary=replace(whole.vary, evaluations=100),
            move=replace(whole.move, moves=40, annealed_moves=100),
            lns=replace(whole.lns, session=1_000),
            counting=replace(whole.counting, nodes=20),
            order_variables=replace(whole.order_variables, nodes=20),
            period=replace(whole.period, moves=20_000),
        )
