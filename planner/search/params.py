"""The numbers that steer the search: a dataclass for each step, a comment for each number.

Effort is counted in evaluations, moves and nodes, never in seconds: the same seed gives the same search.
``SearchParams()`` is what ``planner solve`` runs with; ``SearchParams.for_tests()`` is the same programme with less
effort for each step.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from planner.scheduling.list.look import Look
from planner.scheduling.params import AnnealParams, ScheduleParams


@dataclass(frozen=True)
class ReadyParams:
    """When a verified plan is made while placements are tried, since there may be too little time at the end."""

    after: float = 0.25  # share of the time limit before which none is made
    longer: float = 10.0  # x the time that the last one took: the pause before the next


@dataclass(frozen=True)
class PlacementParams:
    """Placements that are proposed and scheduled by known rules."""

    promising: float = 1.15  # x the best makespan: known rules that do worse on a placement are given up early
    few_microbatches: int = 4  # up to so many microbatches, and
    many_operators: int = 500  # with more operators than this, placement by earliest finish is tried in the opening
    assigned_versions: int = 1_000  # groups x devices x versions up to which the assignment MIP decides versions, too
    assignment_nodes: int = 1  # the root of the assignment MIP only: list schedules judge its proposals


@dataclass(frozen=True)
class VaryParams:
    """Rules of the list scheduler varied."""

    evaluations: int = 3_000  # list schedules
    placements: int = 3  # best placements on which rules are varied,
    with_versions: int = 50_000  # where there are alternatives, of so many tasks together at most,
    hopeless: float = 1.02  # and of each uniform choice those that are not longer than this x the best,
    compared: float = 0.15  # each for this share of the evaluations; then the best of them for all
    long: int = 60_000  # tasks up to which the best placement is varied for longer: the fewer tasks, the longer
    suggesting: float = 0.4  # share of the evaluations before a beam search, to suggest sizes of microbatch groups
    after_move: float = 0.5  # share of the evaluations after operators have been moved


@dataclass(frozen=True)
class UniformParams:
    """The best placements with all operators in one version."""

    placements: int = 1  # of each uniform choice
    hopeless: float = 1.05  # x the best makespan: what is worse by known rules, justified, is left as it is
    varied: float = 0.1  # share of the usual evaluations of varied rules for each,
    tasks: int = 10_000  # with so many tasks; with more, as many fewer
    rounds: int = 2  # of annealing


@dataclass(frozen=True)
class MixedParams:
    """Choices of versions by kind of operator, and what lies between two of them."""

    placements: int = 3  # best placements on which they are tried,
    near: float = 1.05  # if not longer than this x the best
    tasks: float = 10e6  # scheduled at most to try them, each with
    rules: int = 6  # best rules of the placement, which are given up beyond
    promising: float = 1.15  # x the best makespan
    refined: int = 4  # best pairs whose quarters are tried, too
    tuned: tuple[tuple[int, float], ...] = ((16, 0.03), (6, 0.1))  # best of all choices, share of varied rules:
    varied: int = 100_000  # of so many tasks together at most;
    many: int = 10_000  # if there are more tasks than this, of as many fewer


@dataclass(frozen=True)
class AnnealOrdersParams:
    """Annealing of orders of the best schedules. A halving is a sequence of (searches, rounds for each)."""

    first: tuple[tuple[int, int], ...] = ((5, 1), (2, 2))  # on the placements of families
    some: tuple[tuple[int, int], ...] = ((1, 4),)  # on the best of all placements
    brief: tuple[tuple[int, int], ...] = ((3, 1), (1, 2))  # for a question that is asked many times
    rounds: int = 12  # on the very best,
    still: int = 3  # or until so many in a row gain nothing
    after_move: int = 2  # rounds after operators have been moved


@dataclass(frozen=True)
class MoveParams:
    """Local search on the placement: moves of groups of operators to other devices."""

    moves: int = 400  # where only shorter schedules are accepted,
    move_tasks: int = 1_500_000  # and tasks of the schedules that they need, with a rule each,
    still: int = 150  # or until so many in a row are not
    annealed_at_most: int = 5_000  # tasks: with more, placements are not annealed
    annealed_tasks: int = 4_000_000  # tasks scheduled in an annealing of placements,
    annealed_moves: int = 2_500  # and its moves at most
    hot: float = 0.015  # first temperature, x the best makespan
    cold: float = 0.0003  # last temperature, in the same unit
    tuning: int = 60  # list schedules that fit rules to a placement,
    tuning_tasks: int = 200_000  # tasks in them at most,
    tuned: float = 0.1  # and how often that is done on a placement that is not the best
    rules_tried: int = 3  # best rules of the current placement that are tried on a new one,
    justified: int = 1  # rounds of justification of the best of them, where only shorter schedules are accepted,
    worse: float = 1.01  # and where it is not longer than this x what these rules make of the current placement
    beside: int = 20_000  # side by side with so many tasks: with fewer, waking threads takes longer than it saves
    near: float = 0.7  # share of the moves that go to a neighbour's device
    exchanged: float = 0.5  # share of the second moves that fill the gap of the first
    from_busiest: float = 0.5  # share of the moves that take something from the devices of the bottleneck
    origins: int = 2  # best placements that operators are moved on, the first time, where there are alternatives
    flipped: float = 0.5  # share of the moves that change versions, where there are alternatives,
    on_each: float = 0.2  # and of these, share that change one operator on each device


@dataclass(frozen=True)
class ChangeParams:
    """Changes of devices and versions under the best schedule, its order kept."""

    changes: int = 400  # that are tried in a round,
    tasks: int = 6_000_000  # with so many tasks at most in all of their schedules,
    at_once: int = 4  # side by side: the best of these is kept,
    draws: int = 40  # drawn so often at most
    hot: float = 0.004  # first temperature, x the makespan: longer schedules are accepted by it
    worse: float = 1.01  # x the makespan: what the order makes of a change is given up beyond it
    looks: tuple[Look, ...] = (Look(0.5),)  # of the list scheduler with the starts as keys,
    justified: tuple[Look, ...] = (Look(0.6),)  # and in justification
    rivals: int = 3  # schedules that began elsewhere, the best among them, of which one is changed:
    rival: float = 1.02  # those of at most this x the best makespan
    expected: float = 0.01  # what a first round is expected to gain
    racing: int = (
        4  # schedules that race the first time, each of which began elsewhere: a round each, then the best half,
    )
    raced: int = 24_000  # of so many tasks together at most,
    race: float = 1.06  # and of at most this x the best makespan each
    rounds: int = 2  # of annealing of the best


@dataclass(frozen=True)
class LnsParams:
    """LNS windows: parts of the best schedule re-optimised by a MIP. Effort: tasks, free pairs, simplex iterations."""

    session: int = 100_000  # effort of a session: some ten seconds
    at_once: int = 4  # windows of a round: solved side by side, their new orders combined
    nodes: int = 10  # of the branch-and-bound tree of a window: after these, another window is more promising
    size: int = 100  # tasks of a first window,
    smallest: int = 12  # and of the smallest
    pairs: int = 100  # free pairs, or
    effort: int = 1_500  # effort of the solver, from which on a window is too large
    grows: float = 1.05  # x the size of a kind's windows if the solver exhausts one that is not too large,
    shrinks: float = 0.8  # and if not
    reach: int = 8  # positions that a task may move past on a resource,
    far: int = 20  # and in windows of long reach
    forgets: float = 0.99  # weight of past improvements and effort of a kind after each of its windows
    prior: float = 0.2  # improvements that every kind is credited with at first


@dataclass(frozen=True)
class PrefixParams:
    """The best schedule re-optimised from prefixes."""

    evaluations: int = 2_000  # list schedules of a session,
    tasks: int = 25_000_000  # with so many tasks at most in all of them: some five seconds


@dataclass(frozen=True)
class RestartParams:
    """A new search on the best placement or its rival, with another seed."""

    close: float = 0.02  # no new search if the schedule is this close to its placement's bound (relatively)
    share: float = 0.25  # of the usual evaluations of varied rules, with many tasks
    rival: float = 1.015  # x the best makespan: a placement that began elsewhere and is searched in turn with the best
    rounds: int = 6  # of annealing afterwards,
    annealed: float = 1.01  # where the schedule is not longer than this x the best


@dataclass(frozen=True)
class SteadyStateParams:
    """Schedules of a few microbatches, whose steady-state pattern is repeated."""

    few: int = 4  # microbatches for each device, at least: enough for warm-up, drain and some patterns in between
    annealed: int = 3  # schedules of few microbatches whose pattern is annealed,
    annealings: int = 10  # so many rounds each,
    times: int = 3  # with the pattern repeated so often
    too_many: int = 100_000  # with more tasks, this comes before schedules of the whole step


@dataclass(frozen=True)
class ModuloParams:
    """Modulo schedules: one microbatch laid out so that it can begin again every period."""

    periods: int = 100  # that are tried, each 4 % longer than the one before: up to 50 times the least
    played: int = 3  # placements on which the whole step is played


@dataclass(frozen=True)
class ExactParams:
    """The exact decomposition. Effort: tasks started; some 300,000 a second."""

    tasks: int = 500  # of the step, up to which it is tried,
    splits: int = 10_000  # and ways to share the microbatches among copies, at most
    first: float = 200_000.0  # effort before other steps
    more: float = 1_500_000.0  # effort between them, each time that the part before has brought something
    decisions: int = 16  # of a placement, up to which the first part need not have brought anything
    proposed: int = 3  # placements that level 2 could not decide, and other searches try


@dataclass(frozen=True)
class CountingParams:
    """The counting model, asked for ever shorter schedules of one placement."""

    nodes: int = 500
    placements: int = 2  # best placements that are asked about
    small: int = 4_000  # variables up to which a model is asked before operators are moved


@dataclass(frozen=True)
class AdaptiveParams:
    """Which step comes next: gains are relative to the makespan."""

    expected: float = 5e-4  # expected gain, for its cost, of a step that has not been tried
    least: float = 1e-4  # expected gain for its cost below which a step is given up,
    least_of_many: float = 1e-5  # and with many tasks, where no exact model takes over
    annealed_placements: float = 2e-3  # expected gain of annealing placements, with few tasks
    beam: float = 0.4  # x the expected gain of a beam search
    searches: float = 2.5  # x the expected gain of new searches and of moves, with many tasks: one is no test of them
    changes: float = 5.0  # x the expected gain of changes of placements and of prefixes, with many tasks


@dataclass(frozen=True)
class PeriodParams:
    """The placement of the least period."""

    moves: int = 400_000  # of one annealing: about a second for a hundred operators
    walkers: int = 4  # annealings
    model_share: float = 0.5  # of the time that is left, what the integer program may take


@dataclass(frozen=True)
class SearchParams:
    """All numbers of the search."""

    schedule: ScheduleParams = field(default_factory=ScheduleParams)
    ready: ReadyParams = field(default_factory=ReadyParams)
    placements: PlacementParams = field(default_factory=PlacementParams)
    vary: VaryParams = field(default_factory=VaryParams)
    uniform: UniformParams = field(default_factory=UniformParams)
    mixed: MixedParams = field(default_factory=MixedParams)
    anneal: AnnealOrdersParams = field(default_factory=AnnealOrdersParams)
    move: MoveParams = field(default_factory=MoveParams)
    change: ChangeParams = field(default_factory=ChangeParams)
    lns: LnsParams = field(default_factory=LnsParams)
    prefix: PrefixParams = field(default_factory=PrefixParams)
    restart: RestartParams = field(default_factory=RestartParams)
    steady_state: SteadyStateParams = field(default_factory=SteadyStateParams)
    modulo: ModuloParams = field(default_factory=ModuloParams)
    exact: ExactParams = field(default_factory=ExactParams)
    counting: CountingParams = field(default_factory=CountingParams)
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
            change=replace(whole.change, changes=40),
            lns=replace(whole.lns, session=1_000),
            prefix=replace(whole.prefix, evaluations=60),
            counting=replace(whole.counting, nodes=20),
            exact=replace(whole.exact, more=200_000.0),
            period=replace(whole.period, moves=20_000),
        )
