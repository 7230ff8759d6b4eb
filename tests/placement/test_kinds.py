"""Kinds of operators, and what lies between two choices of versions by kind."""

from __future__ import annotations

from solver_problems import config

from planner.placement.kinds import Between, between_kinds, kinds
from planner.problem import Placement, Problem


def names(problem: Problem, members: tuple[int, ...] | list[int]) -> list[str]:
    return [problem.operators[i].name for i in members]


def test_kinds_of_real_graphs() -> None:
    """Repetitions of a layer are one kind; the kind of the most operators comes first."""
    multimodal = config("multimodal-choose")
    some = kinds(multimodal)
    assert [len(members) for members in some] == [32, 28, 24, 1, 1]
    assert {name.split(".")[0] for name in names(multimodal, some[0])} == {"vision"}
    assert sorted(i for members in some for i in members) == sorted(multimodal.free)
    assert [len(members) for members in kinds(config("deepseek-v3-h800-whole"))] == [32, 32]
    assert kinds(config("multimodal")) == []


def test_between_two_choices() -> None:
    """The first operators of each device are in the leaner version, the others and all other kinds as before."""
    pair = Between((0, 0, 2, 0, 0, 0), 1, ((0, 3), (5, 4)))
    assert pair.at(0.0) == pair.heavier
    assert pair.at(0.5) == (1, 0, 2, 0, 0, 1)
    assert pair.at(1.0) == (1, 0, 2, 1, 1, 1)


def test_pairs_of_choices_by_kind() -> None:
    """Every pair of versions of a kind, the leaner one last, beside every choice for the other kind."""
    problem = config("deepseek-v3-h800-whole")
    n = problem.n_operators
    placement = Placement.single(tuple(k * problem.n_devices // n for k in range(n)))
    pairs = between_kinds(problem, placement)
    assert len(pairs) == len({(pair.heavier, pair.leaner, pair.on_devices) for pair in pairs}) == 2 * 3 * 3
    ends = {pair.at(share) for pair in pairs for share in (0.0, 1.0)}
    assert len(ends) == 9  # three versions of two kinds
    for pair in pairs:
        for own in pair.on_devices:
            assert len({placement.device_of[0][i] for i in own}) == 1
            assert list(own) == sorted(own, key=problem.topological.index)
            before = {pair.heavier[i] for i in own}
            sizes = [float(problem.choices[v].activation[own[0]]) for v in (*before, pair.leaner)]
            assert len(sizes) == 2 and sizes[1] < sizes[0]


def test_many_kinds() -> None:
    """The kinds of the fewest operators keep the versions that they have in the placement."""
    problem = config("multimodal-choose")
    placement = Placement.single((0,) * problem.n_operators)
    heads = [i for members in kinds(problem)[3:] for i in members]
    versions = list(problem.first_versions)
    versions[heads[0]] = 1
    pairs = between_kinds(problem, problem.in_versions(placement, (tuple(versions),)))
    assert len(pairs) == 3 * 4
    for pair in pairs:
        assert not {i for own in pair.on_devices for i in own} & set(heads)
        assert [pair.heavier[i] for i in heads] == [1, 0]
