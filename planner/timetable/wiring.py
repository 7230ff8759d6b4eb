"""Precedence on one device and transfers between two, for all microbatches of a copy at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from planner.problem import Placement, Problem
from planner.timetable.network import Floats, Ints, Network, joined
from planner.timetable.timetable import TimedTransfer


@dataclass(frozen=True, slots=True)
class Leg:
    """A transfer that every microbatch of a copy makes (rule 4): the output of ``operator`` or its gradient.

    ``readers`` are the operators on the device at the other end; they wait for pass 0 and make pass 1.
    """

    operator: int
    pass_: int
    source: int
    target: int
    seconds: float
    readers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """A leg that takes time: the nodes that stand for it, one for each of its copy's microbatches."""

    leg: Leg
    copy: int
    microbatches: Ints
    nodes: Ints


def legs_of(problem: Problem, device_of: Sequence[int]) -> list[Leg]:
    """All transfers of one microbatch under the placement of its copy, those without length too."""
    legs: list[Leg] = []
    for i in problem.topological:
        home = device_of[i]
        readers: dict[int, list[int]] = {}
        for j in problem.consumers[i]:
            if device_of[j] != home:
                readers.setdefault(device_of[j], []).append(j)
        for away in sorted(readers):
            there = tuple(readers[away])
            legs.append(Leg(i, 0, home, away, problem.transfer(i, home, away), there))
            if problem.training:
                legs.append(Leg(i, 1, away, home, problem.transfer(i, away, home), there))
    return legs


def connect(
    network: Network,
    problem: Problem,
    placement: Placement,
    copy_of: Sequence[int],
    node_of: Ints,
    leaves_after: Ints | None = None,
) -> list[Sent]:
    """Put precedence and transfers of all microbatches (rules 3 and 4) into a network.

    ``node_of`` (operators, passes, microbatches): the node that runs a task, alone or with others; -1 for none.
    Lane 2d of the network is the compute stream of device d. ``leaves_after``: see ``replay``.
    """
    copies = np.asarray(copy_of)
    legs = [legs_of(problem, device_of) for device_of in placement.device_of]
    timed = np.array([sum(leg.seconds > 0.0 for leg in legs_) for legs_ in legs])[copies]
    # Numbered microbatch by microbatch: of two that are ready at once, a channel takes the older one's first.
    first = network.grow(int(timed.sum())) + np.cumsum(timed) - timed
    sent: list[Sent] = []
    for copy, device_of in enumerate(placement.device_of):
        own = np.flatnonzero(copies == copy)
        node, number = node_of[:, :, own], first[own]
        _precede_on_devices(network, problem, device_of, node)
        for leg in legs[copy]:
            makers, takers = ([leg.operator], leg.readers) if leg.pass_ == 0 else (leg.readers, [leg.operator])
            before = [node[i, leg.pass_] for i in makers]
            after = [node[i, leg.pass_] for i in takers]
            if leg.pass_ == 1 and leaves_after is not None:
                before += [_chosen(node, tasks) for i in leg.readers for tasks in leaves_after[i][:, own]]
            if leg.seconds > 0.0:
                occupies = tuple(2 * d for d in (leg.source, leg.target) if problem.exclusive[d])
                network.send(number, (leg.source, leg.target), leg.seconds, occupies)
                sent.append(Sent(leg, copy, own, number))
                _precede_all(network, before, [number])
                _precede_all(network, [number], after)
                number = number + 1
            else:
                _precede_all(network, before, after)
    return sent


def _chosen(node: Ints, tasks: Ints) -> Ints:
    """The node of one task (3 x operator + pass; -1: none) for each microbatch."""
    nodes: Ints = node.reshape(-1, node.shape[2])[tasks, np.arange(node.shape[2])]
    return np.where(tasks >= 0, nodes, -1)


def _precede_on_devices(network: Network, problem: Problem, device_of: Sequence[int], node: Ints) -> None:
    """Precedence between the tasks of each microbatch that share a device (rule 3)."""
    for i, device in enumerate(device_of):
        for j in problem.consumers[i]:
            if device_of[j] == device:
                network.precede(node[i, 0], node[j, 0])
                if problem.training:
                    network.precede(node[j, 1], node[i, 1])
        if problem.training:
            network.precede(node[i, 0], node[i, 1])
            network.precede(node[i, 1], node[i, 2])


def _precede_all(network: Network, before: Iterable[Ints], after: Sequence[Ints]) -> None:
    for a in before:
        for b in after:
            network.precede(a, b)


def timed_transfers(start: Floats, sent: Sequence[Sent]) -> tuple[TimedTransfer, ...]:
    """All that was sent, with its times, in order of time."""
    if not sent:
        return ()
    legs = [each.leg for each in sent]
    which = np.repeat(np.arange(len(sent)), [len(each.nodes) for each in sent])
    operator, pass_, source, target = (
        np.array(column)[which]
        for column in zip(*((x.operator, x.pass_, x.source, x.target) for x in legs), strict=True)
    )
    microbatch = joined([each.microbatches for each in sent])
    begin = start[joined([each.nodes for each in sent])]
    end = begin + np.array([leg.seconds for leg in legs])[which]
    order = np.lexsort((target, pass_, operator, microbatch, end, begin))
    columns = (operator, pass_, microbatch, source, target, begin, end)
    return tuple(map(TimedTransfer, *(column[order].tolist() for column in columns)))
