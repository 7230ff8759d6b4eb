"""The task that produces the data of a transfer, and the tasks that wait for it."""

from __future__ import annotations

from planner.events.build import Events
from planner.events.edges import Wait


def links_of(events: Events) -> list[tuple[int, list[int]]]:
    """For each transfer, in the plan's order: the last task before it (-1: none known), and the tasks it goes to.

    Gradients that copies exchange come last. Where precedence is read off the plan, only the first task that could
    wait for a transfer is given.
    """
    nodes = events.nodes
    maker = [-1] * (nodes.n - nodes.n_tasks)
    takers: list[list[int]] = [[] for _ in maker]
    columns = (events.before, events.after, events.wait)
    for before, after, wait in zip(*(column.tolist() for column in columns), strict=True):
        if wait == Wait.INPUT and after >= nodes.n_tasks > before:
            last = maker[after - nodes.n_tasks]
            if last < 0 or nodes.end[before] > nodes.end[last]:
                maker[after - nodes.n_tasks] = before
        elif wait == Wait.TRANSFER:
            takers[before - nodes.n_tasks].append(after)
    by_start = nodes.start.tolist()
    found = []
    for last, readers in zip(maker, takers, strict=True):
        readers.sort(key=lambda task: (by_start[task], task))
        found.append((last, readers if events.exact else readers[:1]))
    return found
