"""Operators of an imported graph in an order that can be cut into pipeline stages."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence

from planner.files.errors import shortened


class Cycle(Exception):
    """The graph has a cycle; ``names``: its operators, ``edges``: what joins each to the next."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.edges = tuple(zip(self.names, (*self.names[1:], self.names[0]), strict=True))
        shown = self.names if len(self.names) <= 8 else (*self.names[:4], "...", *self.names[-3:])
        super().__init__(f"{' -> '.join(map(shortened, shown))}; remove one of these edges")


def ancestry(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> tuple[list[str], dict[str, list[str]]]:
    """A topological order of the names, and what each of them reads (each input once, in the order of the edges).

    Among names that may come next, the one with the smallest number in it is next (``node9`` before ``node10``:
    profilers number operators in the order of execution), ties by the order of ``names``. Raises ``Cycle``.
    """
    reads: dict[str, list[str]] = {name: [] for name in names}
    read_by: dict[str, list[str]] = {name: [] for name in reads}
    for source, target in edges:
        if source not in reads[target]:
            reads[target].append(source)
            read_by[source].append(target)
    rank = {name: (_number(name), position, name) for position, name in enumerate(reads)}
    missing = {name: len(sources) for name, sources in reads.items()}
    ready = [rank[name] for name, count in missing.items() if count == 0]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        name = heapq.heappop(ready)[2]
        order.append(name)
        for target in read_by[name]:
            missing[target] -= 1
            if missing[target] == 0:
                heapq.heappush(ready, rank[target])
    if len(order) < len(reads):
        raise Cycle(_cycle(missing, reads))
    return order, reads


def _number(name: str) -> int:
    found = re.search(r"\d{1,9}", name)
    return int(found[0]) if found else 0


def _cycle(missing: Mapping[str, int], reads: Mapping[str, Sequence[str]]) -> list[str]:
    """One cycle, found by going back from a name that never became ready."""
    name = next(name for name, count in missing.items() if count)
    seen: list[str] = []
    while name not in seen:
        seen.append(name)
        name = next(source for source in reads[name] if missing[source])
    return seen[seen.index(name) :][::-1]
