"""Disturbances of a step: passes and transfers vary from run to run; devices and links may be slow in all runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from planner.events import Events
from planner.events.nodes import Floats, Ints, Nodes

ANY = "*"
"""Stands for every device in a link."""


@dataclass(frozen=True)
class Disturbance:
    """``jitter``: standard deviation of the length of each pass and each transfer, relative to the planned one.

    Lengths are multiplied by independent lognormal factors of mean 1, so that they stay positive and the work of a
    step stays the same on average. ``slow_devices`` multiplies all passes on the devices named, ``slow_links`` all
    transfers from the first device named to the second (``*``: any).
    """

    jitter: float = 0.0
    slow_devices: Mapping[str, float] = field(default_factory=dict)
    slow_links: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def slowed(self, nodes: Nodes) -> Floats:
        """The factor that every task and transfer has in all runs."""
        of_device = np.array([self.slow_devices.get(name, 1.0) for name in nodes.devices])
        factors: Floats = of_device[nodes.device]
        k = nodes.n_tasks
        links = {
            (a, b): math.prod(
                factor
                for (source, target), factor in self.slow_links.items()
                if source in (ANY, nodes.devices[a]) and target in (ANY, nodes.devices[b])
            )
            for a, b in set(zip(nodes.device[k:].tolist(), nodes.target[k:].tolist(), strict=True))
        }
        columns = zip(nodes.device[k:].tolist(), nodes.target[k:].tolist(), strict=True)
        factors[k:] = [links[pair] for pair in columns]
        return factors

    def lengths(self, events: Events, runs: int, seed: int, at_once: int) -> Iterator[Floats]:
        """The lengths of all nodes in every run, in seconds: arrays of shape (nodes, at most ``at_once`` runs).

        The k-th run of one seed disturbs a pass equally in all plans that have it, so plans are compared under the same
        conditions.
        """
        nodes = events.nodes
        base = (events.seconds * self.slowed(nodes))[:, None]
        groups = [
            (np.random.default_rng([seed, which]), nodes_, slot, slots)
            for which, (nodes_, slot, slots) in enumerate(_in_any_plan(nodes))
        ]
        spread = math.sqrt(math.log1p(self.jitter**2))
        for first in range(0, runs, at_once):
            count = min(at_once, runs - first)
            if self.jitter == 0.0:
                yield np.broadcast_to(base, (nodes.n, count))
                continue
            deviation = np.empty((nodes.n, count))
            for draw, nodes_, slot, slots in groups:
                deviation[nodes_] = draw.standard_normal((count, slots)).T[slot]
            yield base * np.exp(spread * deviation - spread**2 / 2)


def _in_any_plan(nodes: Nodes) -> list[tuple[Ints, Ints, int]]:
    """Tasks of microbatches, their transfers, tasks of the step, and exchanges, each in an order that names decide.

    Given are the nodes, and to each its place among so many draws. The passes have the same places in all plans of a
    graph: every microbatch takes one for every pass of every operator, also where its variant has no such pass.
    """
    by_name = np.empty(len(nodes.operators), dtype=np.int64)
    by_name[np.argsort(nodes.operators)] = np.arange(len(nodes.operators))
    devices = np.empty(len(nodes.devices), dtype=np.int64)
    devices[np.argsort(nodes.devices)] = np.arange(len(nodes.devices))
    operator = by_name[nodes.operator]
    order = np.lexsort(
        (nodes.copy, devices[nodes.target], devices[nodes.device], nodes.pass_, operator, nodes.microbatch)
    )
    task, once = order < nodes.n_tasks, nodes.once[order]
    found = []
    for group in (order[task & ~once], order[~task & ~once], order[task & once], order[~task & once]):
        found.append((group, np.arange(len(group)), len(group)))
    passes = found[0][0]
    kinds = 3 if (nodes.pass_[passes] > 0).any() else 1
    microbatches, microbatch = np.unique(nodes.microbatch[passes], return_inverse=True)
    slot = (microbatch * len(nodes.operators) + operator[passes]) * kinds + nodes.pass_[passes]
    found[0] = (passes, slot, len(microbatches) * len(nodes.operators) * kinds)
    return found
