"""Segments of the topological order: what cuts into contiguous stages may separate.

A ``colocate`` label asks for one device, not for one stage. Operators of a label that no path joins through others
stand side by side in the order and are one segment. Where a path leads from a label through other operators back to
it (embedding and head of a language model), all of that is one segment only if the label's operators must share a
stage; stages that share a device may have them apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from heapq import heapify, heappop, heappush
from itertools import chain, groupby

Segment = tuple[int, ...]

SPREAD_AT_MOST = 6
"""Labels inside one joined segment whose operators may stand apart."""


@dataclass(frozen=True)
class Segments:
    """One order of the operators, in two granularities.

    ``joined``: a label's operators are in one segment with all that lies between them; nothing finer can be cut into
    stages on different devices. ``loose``: the same order, the operators of the ``spread`` labels apart.
    """

    joined: tuple[Segment, ...]
    loose: tuple[Segment, ...]
    spread: tuple[Segment, ...]

    @property
    def operators(self) -> tuple[Segment, ...]:
        """The same order, every operator a segment of its own."""
        return tuple((i,) for segment in self.joined for i in segment)


def file_order(inputs: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """A topological order that stays as close to the file's order as it can; ``inputs[i]``: what operator i reads."""
    sorter = TopologicalSorter(dict(enumerate(inputs)))
    sorter.prepare()
    ready: list[int] = []
    order: list[int] = []
    while sorter.is_active():
        for i in sorter.get_ready():
            heappush(ready, i)
        order.append(heappop(ready))
        sorter.done(order[-1])
    return tuple(order)


def segments_of(order: Sequence[int], inputs: Sequence[Sequence[int]], groups: Iterable[Segment]) -> Segments:
    """The segments of a graph in topological ``order``; ``groups`` are its operators by label."""
    labels = [members for members in groups if len(members) > 1]
    if not labels:
        single = tuple((i,) for i in order)
        return Segments(single, single, ())
    joined = _condensed(order, inputs, labels)
    loose: list[Segment] = []
    spread: list[Segment] = []
    for segment in joined:
        here = set(segment)
        inside, apart = _loosened(segment, inputs, [members for members in labels if members[0] in here])
        loose += inside
        spread += apart
    # the joined segments in the order of their loose parts
    parts = iter(chain.from_iterable(loose))
    return Segments(tuple(tuple(next(parts) for _ in segment) for segment in joined), tuple(loose), tuple(spread))


def gathered(segments: Segments, weight: Sequence[float]) -> list[tuple[Segment, ...]]:
    """Loose segments with every spread label's operators in one of their places, the others' places left out.

    All in the first place, all in the last, all in that of the most ``weight`` (by operator). The result is no
    contiguous cut: the operators of a label go where one of them is, and those between do not.
    """
    found: list[tuple[Segment, ...]] = []
    if not segments.spread:
        return found
    for choose in ("first", "last", "heaviest"):
        rows: list[Segment] = list(segments.loose)
        for members in segments.spread:
            rows = _gathered_at(rows, set(members), choose, weight)
        if tuple(rows) not in found:
            found.append(tuple(rows))
    return found


def merged(segments: Sequence[Segment], labels: Iterable[Collection[int]]) -> list[Segment]:
    """The segments, with all between a label's first and last operator as one."""
    place = {i: k for k, segment in enumerate(segments) for i in segment}
    glued = [False] * (len(segments) + 1)
    for members in labels:
        places = [place[i] for i in members]
        for k in range(min(places) + 1, max(places) + 1):
            glued[k] = True
    out: list[Segment] = []
    for k, segment in enumerate(segments):
        if k and glued[k]:
            out[-1] += segment
        else:
            out.append(segment)
    return out


def _gathered_at(rows: Sequence[Segment], members: set[int], choose: str, weight: Sequence[float]) -> list[Segment]:
    """Segments with a label's operators in one of the runs of segments that are all its own."""
    runs = [
        [k for k, _ in run]
        for own, run in groupby(enumerate(rows), key=lambda entry: members.issuperset(entry[1]))
        if own
    ]
    if sum(len(rows[k]) for run in runs for k in run) < len(members):
        return list(rows)  # some are in a segment with others
    heaviest = max(runs, key=lambda run: sum(weight[i] for k in run for i in rows[k]))
    run = {"first": runs[0], "last": runs[-1], "heaviest": heaviest}[choose]
    together = tuple(chain.from_iterable(rows[k] for each in runs for k in each))
    own = {k for each in runs for k in each}
    return [together if k == run[0] else segment for k, segment in enumerate(rows) if k == run[0] or k not in own]


def _loosened(
    segment: Segment, inputs: Sequence[Sequence[int]], labels: Sequence[Segment]
) -> tuple[list[Segment], list[Segment]]:
    """A joined segment as finer ones, and the labels that stand apart in them: those of the longest spans."""
    place = {i: k for k, i in enumerate(segment)}
    spans = {members: max(place[i] for i in members) - min(place[i] for i in members) for members in labels}
    left = sorted(labels, key=lambda members: spans[members])
    whole = {frozenset(members) for members in labels}
    apart: list[Segment] = []
    parts = [segment]
    while left and len(apart) < SPREAD_AT_MOST and any(len(p) > 1 and frozenset(p) not in whole for p in parts):
        apart.append(left.pop())
        parts = _condensed(segment, inputs, left)
    return parts, apart


def _condensed(order: Sequence[int], inputs: Sequence[Sequence[int]], labels: Iterable[Segment]) -> list[Segment]:
    """The strongly connected parts of a graph whose labels are one node each, in the order nearest to ``order``.

    Only the operators of ``order`` count. Each part lists its operators as ``order`` does.
    """
    place = {i: k for k, i in enumerate(order)}
    node = {i: i for i in order}
    for members in labels:
        node.update(dict.fromkeys(members, members[0]))
    before: dict[int, set[int]] = {v: set() for v in node.values()}
    for i in order:
        before[node[i]].update(node[j] for j in inputs[i] if j in place and node[j] != node[i])
    part = _strong_parts(before)
    members_of: dict[int, list[int]] = {}
    for i in order:
        members_of.setdefault(part[node[i]], []).append(i)
    after: dict[int, set[int]] = {p: set() for p in members_of}
    waits = dict.fromkeys(members_of, 0)
    for v, sources in before.items():
        for u in sources:
            if part[u] != part[v] and part[v] not in after[part[u]]:
                after[part[u]].add(part[v])
                waits[part[v]] += 1
    ready = [(place[members_of[p][0]], p) for p, n in waits.items() if not n]
    heapify(ready)
    found: list[Segment] = []
    while ready:
        _, p = heappop(ready)
        found.append(tuple(members_of[p]))
        for q in after[p]:
            waits[q] -= 1
            if not waits[q]:
                heappush(ready, (place[members_of[q][0]], q))
    return found


def _strong_parts(before: dict[int, set[int]]) -> dict[int, int]:
    """The strongly connected part of every node (Tarjan, 1972), without recursion."""
    number: dict[int, int] = {}
    lowest: dict[int, int] = {}
    part: dict[int, int] = {}
    path: list[int] = []
    for root in list(before):
        if root in number:
            continue
        number[root] = lowest[root] = len(number)
        path.append(root)
        work = [(root, iter(before[root]))]
        while work:
            v, rest = work[-1]
            for u in rest:
                if u not in number:
                    number[u] = lowest[u] = len(number)
                    path.append(u)
                    work.append((u, iter(before[u])))
                    break
                if u not in part:
                    lowest[v] = min(lowest[v], number[u])
            else:
                work.pop()
                if work:
                    above = work[-1][0]
                    lowest[above] = min(lowest[above], lowest[v])
                if lowest[v] == number[v]:
                    while True:
                        u = path.pop()
                        part[u] = v
                        if u == v:
                            break
    return part
