"""The numbers that steer level 2, a comment for each, with its unit.

Constants of compiled code are in ``orders/anneal.py``, the ranges of random rules in ``list/rules.py`` and
``list/microbatch_groups.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from planner.scheduling.list.look import Look


@dataclass(frozen=True)
class RuleSearchParams:
    """The search over rules (``list/rule_search.py``)."""

    walkers: int = 4  # side by side, each with random numbers of its own
    random: float = 0.25  # share of the evaluations for random rules
    from_prefix: float = 0.35  # share for schedules re-optimised from a prefix; walks over rules have the rest
    worse: float = 0.004  # what a walk accepts at first, relative to where it stands
    rounds: int = 2  # after each, the worse half of the schedules that are re-optimised is dropped
    worse_from_prefix: float = 0.001  # what a schedule re-optimised by its own starts may be longer at first
    rule_of_another_time: float = 0.15  # how often a suffix follows a rule close to that of another time
    grouped: float = 0.5  # share of random rules with microbatch groups, if memory holds fewer than all
    hopeless: float = 1.1  # x the best makespan: random rules that do worse are given up
    unjustified: float = 1.2  # the same before their schedules are justified (``list/justify.py``)
    justified: int = 4  # rounds, forward and backward, at most,
    pays: float = 5e-4  # and while each shortens the schedule by so much (relatively)
    # In them the list scheduler looks ahead so; walkers always as the first says and as one of the others, comm first
    # or not by chance.
    looks: tuple[Look, ...] = (Look(0.6), Look(0.3, comm_first=True), Look(0.9))
    remembered: int = 12  # rules that are kept with their makespans


@dataclass(frozen=True)
class BeamParams:
    """The beam search over horizons (``list/beam.py``)."""

    meetings: int = 2  # used with more microbatch groups than this: with fewer, less hides a beginning
    drawn: float = 0.2  # share of a horizon's evaluations for random rules
    walked: float = 0.5  # share for walks; re-optimising the best from a prefix has the rest
    beginning: float = 0.3  # share of the tasks played up to the first horizon
    end: float = 0.6  # share from the last horizon to the end
    walks: int = 3  # up to each horizon, at least
    width: int = 2  # schedules that go on from each horizon
    past_turn: float = 0.3  # x a group's work: a horizon comes so long after two groups meet
    back: float = 0.7  # x a group's work: how far before a horizon the next part may begin to differ
    worse: float = 0.001  # x the best makespan: what a walk accepts at first
    near: float = 0.4  # how often rules are drawn near to those of the beginning
    distance: float = 0.3  # and how near


@dataclass(frozen=True)
class GroupSizeParams:
    """The competition of sizes of microbatch groups (``list/group_sizes.py``), in tasks played for each."""

    known: int = 4  # sizes of the best rules that compete
    near: int = 6  # sizes next to the best of these
    tried: float = 1e7  # tasks played for each at first
    rounds: tuple[tuple[int, float], ...] = ((4, 2e7), (2, 6e7), (1, 10e7))  # how many go on, and tasks for each


@dataclass(frozen=True)
class AnnealParams:
    """Simulated annealing of orders (``orders/anneal.py``)."""

    walkers: int = 2  # side by side
    played_at_most: int = 10_000_000  # tasks played, if every order were played from its beginning: a third of a second
    iterations_at_most: int = 50_000
    slice: int = 500_000  # tasks played between two looks at the clock
    hot: float = 0.1  # first temperature, x the busiest resource's work for one microbatch
    cold: float = 0.003  # last temperature, in the same unit
    cooler_from: int = 500  # tasks from which on the first temperature is lower, the more there are


@dataclass(frozen=True)
class ScheduleParams:
    """All of level 2."""

    many_tasks: int = 2_500  # with more, rules shape a schedule and annealing is intensification only
    rules: RuleSearchParams = field(default_factory=RuleSearchParams)
    beam: BeamParams = field(default_factory=BeamParams)
    group_sizes: GroupSizeParams = field(default_factory=GroupSizeParams)
    anneal: AnnealParams = field(default_factory=AnnealParams)


SHIPPED = ScheduleParams()
"""What ``planner solve`` runs with."""
