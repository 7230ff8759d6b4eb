"""What one microbatch needs, against looking at every order of its tasks."""

from __future__ import annotations

import random

import numpy as np
import pytest
from solver_problems import chain, operator, posed, random_problem

from planner.placement import memory
from planner.placement.memory import Need, microbatch_need, parameters_on, sequence
from planner.problem import Placement, Problem

Task = tuple[int, int]


def follows(problem: Problem) -> dict[Task, set[Task]]:
    """What each task of one microbatch waits for."""
    waits: dict[Task, set[Task]] = {}
    for i in range(problem.n_operators):
        waits[i, 0] = {(j, 0) for j in problem.inputs[i]}
        if problem.training:
            waits[i, 1] = {(i, 0), *((j, 1) for j in problem.consumers[i])}
            if problem.has_pass[i, 2]:
                waits[i, 2] = {(i, 1)}
    return waits


def held(problem: Problem, device_of: tuple[int, ...], done: frozenset[Task]) -> np.ndarray:
    """Bytes on each device once these tasks have run."""
    used = np.zeros(problem.n_devices)
    for i, d in enumerate(device_of):
        if (i, 0) not in done:
            continue
        if problem.training:
            if (i, 1) not in done:
                used[d] += problem.activation[i]
            elif problem.has_pass[i, 2] and (i, 2) not in done:
                used[d] += problem.held[i]
        elif any((j, 0) not in done for j in problem.consumers[i] if device_of[j] == d):
            used[d] += problem.activation[i]
    return used


def some_order_fits(problem: Problem, device_of: tuple[int, ...], room: np.ndarray) -> bool:
    """Whether one microbatch fits in some order of its tasks, by reaching every set of tasks that can be reached."""
    waits = follows(problem)
    seen = {frozenset[Task]()}
    stack = list(seen)
    while stack:
        done = stack.pop()
        if len(done) == len(waits):
            return True
        before = held(problem, device_of, done)
        for task, earlier in waits.items():
            if task in done or not earlier <= done:
                continue
            i, p = task
            during = before.copy()
            if p == 0:
                during[device_of[i]] += problem.activation[i]
            after = done | {task}
            if (during <= room + 1e-9).all() and after not in seen:
                seen.add(after)
                stack.append(after)
    return False


def peak_of(problem: Problem, device_of: tuple[int, ...], tasks: list[Task]) -> np.ndarray:
    """The most that each device holds while the tasks run one after another."""
    waits, done, peak = follows(problem), frozenset[Task](), np.zeros(problem.n_devices)
    for i, p in tasks:
        assert waits[i, p] <= done
        during = held(problem, device_of, done)
        if p == 0:
            during[device_of[i]] += problem.activation[i]
        peak = np.maximum(peak, during)
        done |= {(i, p)}
    assert len(done) == len(waits)
    return peak


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("block", range(5))
def test_against_every_order(block: int, training: bool) -> None:
    """A need is found exactly where some order fits, and its order keeps to its peak, on DAGs of up to 6 operators."""
    answers = []
    for seed in range(30 * block, 30 * block + 30):
        problem = random_problem(seed, operators=6, devices=2, training=training)
        if problem is None:
            continue
        r = random.Random(seed)
        device_of = tuple(r.randrange(problem.n_devices) for _ in range(problem.n_operators))
        everything = np.zeros(problem.n_devices)
        np.add.at(everything, list(device_of), problem.activation)
        for part in (1.0, 0.8, 0.6, 0.45):
            room = np.array([total * r.choice([part, 1.0]) + 1e-9 for total in everything])
            need = microbatch_need(problem, device_of, room)
            assert need is not False
            expected = some_order_fits(problem, device_of, room)
            assert isinstance(need, Need) is expected, (seed, part)
            answers.append(expected)
            if isinstance(need, Need):
                assert (need.peak <= room + 1e-9).all()
                if need.order is not None:
                    tasks = sequence(problem, need.order)
                    assert (peak_of(problem, device_of, tasks) <= need.peak + 1e-9).all(), (seed, part)
    assert 0.3 < np.mean(answers) < 1


def test_several_sinks_one_after_the_other() -> None:
    """A trunk with two heads on one device: the second head runs once the first has gone back."""
    trunk = operator("trunk", activation=1.0)
    heads = [operator(f"head{k}", "trunk", activation=4.0) for k in (0, 1)]
    problem = posed(trunk, *heads)
    assert microbatch_need(problem, (0, 0, 0), np.array([4.9])) is None
    need = microbatch_need(problem, (0, 0, 0), np.array([5.0]))
    assert isinstance(need, Need)
    assert need.peak.tolist() == [5.0]
    assert need.order is not None


def test_inference_lets_go_of_what_was_read() -> None:
    """A chain in inference never holds more than two activations; in training all of them."""
    operators = chain(5, times=(1.0,), activation=1.0)
    assert isinstance(microbatch_need(posed(*operators, training=False), (0,) * 5, np.array([2.0])), Need)
    assert microbatch_need(posed(*operators, training=False), (0,) * 5, np.array([1.9])) is None
    trained = posed(*chain(5, activation=1.0))
    assert microbatch_need(trained, (0,) * 5, np.array([4.9])) is None
    assert isinstance(microbatch_need(trained, (0,) * 5, np.array([5.0])), Need)


def test_a_search_that_is_cut_off_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a need nor the proof that there is none, where not all sets of passes could be looked at."""
    trunk = operator("trunk", activation=1.0)
    middles = [operator(f"m{k}", "trunk", activation=1.0) for k in range(3)]
    heads = [operator(f"h{k}", f"m{k}", f"m{(k + 1) % 3}", activation=2.0) for k in range(3)]
    problem, room = posed(trunk, *middles, *heads), np.array([5.5])  # 5 for one head, 6 for the second
    assert microbatch_need(problem, (0,) * 7, room) is None
    monkeypatch.setattr(memory, "STATES_AT_MOST", 1)
    assert microbatch_need(problem, (0,) * 7, room) is False


def test_what_leads_to_a_sink_needs_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trunk of many operators and two heads, one of them too large: proven at once, however large the graph."""
    monkeypatch.setattr(memory, "STATES_AT_MOST", 0)
    trunk = chain(400, activation=1.0)
    heads = [operator(name, "s399", activation=size) for name, size in (("small", 1.0), ("large", 2.0))]
    problem = posed(*trunk, *heads)
    assert microbatch_need(problem, (0,) * 402, np.array([401.5])) is None
    assert microbatch_need(problem, (0,) * 402, np.array([402.5])) is False, "that takes a search"


def test_copies_on_one_device_share_parameters() -> None:
    """Parameters count once a device, however many copies are there."""
    problem = posed(*chain(2, parameters=3.0), devices=2, copies=2)
    assert parameters_on(problem, Placement(((0, 0), (0, 1)))).tolist() == [6.0, 3.0]
