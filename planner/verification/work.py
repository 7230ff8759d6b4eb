"""What devices, streams and channels do in a step: the sums that the figures are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.verification.facts import INSTANT, Facts


@dataclass(frozen=True)
class Work:
    """Seconds, by name of the device: how long its compute stream works, and from its first start to its last end.

    ``streams``: the work of each stream and channel for microbatches, so without step tasks; exclusive transfers count
    on compute streams too. ``running``: the devices that run a task.
    """

    microbatches: int
    makespan: float
    running: frozenset[str]
    busy: Mapping[str, float]
    span: Mapping[str, float]
    streams: Mapping[tuple[str, str], float]

    @property
    def tolerance(self) -> float:
        """Seconds by which two instants of the step may differ and still be one."""
        return INSTANT * max(0.0, self.makespan)

    @staticmethod
    def of(facts: Facts) -> Work:
        """The work of the tasks and transfers that a plan lists."""
        table, devices = facts.table, list(facts.devices)
        busy, span = {}, {}
        for d, name in enumerate(devices):
            rows = np.flatnonzero(facts.usable_rows & (table.device == d) & (table.on_comm == 0))
            step = [task for task in facts.usable_step if task.device == name and task.stream == "compute"]
            start = np.append(table.start[rows], [task.start for task in step])
            end = np.append(table.end[rows], [task.end for task in step])
            busy[name] = math.fsum((end - start).tolist())
            span[name] = float(end.max() - start.min()) if len(end) else 0.0
        running = {devices[d] for d in np.unique(table.device[facts.usable_rows]).tolist()}
        running |= {task.device for task in facts.usable_step}
        return Work(facts.microbatches, facts.makespan, frozenset(running), busy, span, _streams(facts))

    def repeated(self, longer: Work, by: int, times: int) -> Work:
        """The step with ``times`` more repetitions than this one, from it and a ``longer`` one with ``by`` more."""

        def grown(short: float, long: float) -> float:
            return short + (long - short) / by * times

        more = (longer.microbatches - self.microbatches) // by * times
        return Work(
            self.microbatches + more,
            grown(self.makespan, longer.makespan),
            longer.running,
            {name: grown(self.busy[name], seconds) for name, seconds in longer.busy.items()},
            {name: grown(self.span[name], seconds) for name, seconds in longer.span.items()},
            {key: grown(self.streams.get(key, 0.0), seconds) for key, seconds in longer.streams.items()},
        )


def _streams(facts: Facts) -> dict[tuple[str, str], float]:
    streams: dict[tuple[str, str], list[float]] = {}
    for task in facts.usable:
        streams.setdefault((task.device, task.stream), []).append(task.end - task.start)
    for transfer in filter(facts.timed, facts.plan.transfers):
        streams.setdefault((transfer.source, f"to {transfer.target}"), []).append(transfer.end - transfer.start)
        for end in (transfer.source, transfer.target):
            device = facts.devices.get(end)
            if device is not None and device.type.exclusive_transfers:
                streams.setdefault((end, "compute"), []).append(transfer.end - transfer.start)
    return {key: math.fsum(seconds) for key, seconds in streams.items()}
