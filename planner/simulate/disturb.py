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
        passes, transfers = _in_any_plan(nodes)
        draw_passes, draw_transfers = (np.random.default_rng([seed, which]) for which in (0, 1))
        spread = math.sqrt(math.log1p(self.jitter**2))
        for first in range(0, runs, at_once):
            count = min(at_once, runs - first)
            if self.jitter == 0.0:
                yield np.broadcast_to(base, (nodes.n, count))
                continue
            deviation = np.empty((nodes.n, count))
            deviation[passes] = draw_passes.standard_normal((count, len(passes))).T
            deviation[transfers] = draw_transfers.standard_normal((count, len(transfers))).T
            yield base * np.exp(spread * deviation - spread**2 / 2)


def _in_any_plan(nodes: Nodes) -> tuple[Ints, Ints]:
    """Tasks, and transfers, in an order that names alone decide."""
    by_name = np.empty(len(nodes.operators), dtype=np.int64)
    by_name[np.argsort(nodes.operators)] = np.arange(len(nodes.operators))
    devices = np.empty(len(nodes.devices), dtype=np.int64)
    devices[np.argsort(nodes.devices)] = np.arange(len(nodes.devices))
    keys = (devices[nodes.target], devices[nodes.device], nodes.pass_, by_name[nodes.operator], nodes.microbatch)
    order = np.lexsort(keys)
    return order[order < nodes.n_tasks], order[order >= nodes.n_tasks]
