"""Merging: operators become fewer, larger groups if the graph is too large for the assignment MIP.

Contraction along the edges of the graph, the largest outputs first (an edge whose output is large or on which
everything depends is the last that a good plan would cut), as long as no group grows beyond its share of the work.
What ``colocate`` demands is merged first and always.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from planner.problem import Problem

GROUPS_AT_MOST = 40
"""Groups times devices is the number of binaries; beyond some hundreds HiGHS proves nothing in seconds."""

REFINED_AT_MOST = 80
"""Groups after refinement; most of them stay where they are."""


def merge(problem: Problem, at_most: int = GROUPS_AT_MOST) -> tuple[tuple[int, ...], ...]:
    """Groups of operators, each sorted, in order of their first member; no more than ``at_most`` if possible."""
    parent = list(range(problem.n_operators))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for members in problem.groups:
        for i in members[1:]:
            parent[find(i)] = find(members[0])
    groups = len(problem.groups)
    if groups > at_most:
        fastest = np.where(problem.runs_on[:, None, :], problem.duration, np.inf).min(axis=2).sum(axis=1)
        work = dict.fromkeys(range(problem.n_operators), 0.0)
        allowed: dict[int, npt.NDArray[np.bool_]] = {}
        for i in range(problem.n_operators):
            work[find(i)] += float(fastest[i])
            allowed[find(i)] = allowed.get(find(i), problem.runs_on[i]) & problem.runs_on[i]
        total = float(fastest.sum())
        share = total / max(1, problem.n_devices)
        edges = _edges_dearest_first(problem)
        for limit in (share / 4, share / 2, share, total):
            for i, j in edges:
                a, b = find(i), find(j)
                if a == b or groups <= at_most or work[a] + work[b] > limit * (1 + 1e-9):
                    continue
                if not (allowed[a] & allowed[b]).any():
                    continue
                keep, drop = min(a, b), max(a, b)
                parent[drop] = keep
                work[keep] += work.pop(drop)
                allowed[keep] = allowed[keep] & allowed.pop(drop)
                groups -= 1
    members_of: dict[int, list[int]] = {}
    for i in range(problem.n_operators):
        members_of.setdefault(find(i), []).append(i)
    return tuple(tuple(m) for m in members_of.values())


def refined(
    problem: Problem, groups: Sequence[Sequence[int]], device_of: Sequence[int]
) -> tuple[tuple[int, ...], ...] | None:
    """The groups, refined at the device boundaries of a placement; None where there is none to refine.

    Merging may have hidden the best cuts. So groups at a boundary are split into operators (or what ``colocate``
    joins), and all others stay merged. The groups with the most work come first, up to ``REFINED_AT_MOST`` groups.
    """
    label_of = {i: n for n, members in enumerate(problem.groups) for i in members}
    group_of = {i: g for g, members in enumerate(groups) for i in members}
    cut = [(i, j) for i, inputs in enumerate(problem.inputs) for j in inputs if device_of[i] != device_of[j]]
    border = {group_of[i] for ends in cut for i in ends}
    work = np.where(np.isfinite(problem.duration), problem.duration, 0.0).max(axis=2).sum(axis=1)
    parts = {g: sorted({label_of[i] for i in groups[g]}) for g in border}
    count, chosen = len(groups), set[int]()
    for g in sorted(border, key=lambda g: (-float(work[list(groups[g])].sum()), g)):
        if len(parts[g]) > 1 and count + len(parts[g]) - 1 <= REFINED_AT_MOST:
            count += len(parts[g]) - 1
            chosen.add(g)
    if not chosen:
        return None
    kept = [tuple(members) for g, members in enumerate(groups) if g not in chosen]
    return tuple(sorted([*kept, *(tuple(problem.groups[n]) for g in chosen for n in parts[g])]))


def _edges_dearest_first(problem: Problem) -> list[tuple[int, int]]:
    """Edges by output size, then the lightest ends first, then the file's order (which keeps layers alike)."""
    work = np.where(np.isfinite(problem.duration), problem.duration, 0.0).max(axis=2).sum(axis=1)
    edges = [(j, i) for i, inputs in enumerate(problem.inputs) for j in inputs]
    return sorted(edges, key=lambda e: (-problem.output[e[0]], work[e[0]] + work[e[1]], e))


def describe(problem: Problem, groups: Sequence[Sequence[int]]) -> str:
    """One line on what was merged and why, for the report."""
    merged = sum(len(g) for g in groups if len(g) > 1)
    if not merged:
        return ""
    return (
        f"level 1 merged {problem.n_operators} operators into {len(groups)} groups for the assignment MIP "
        "(along the largest outputs, no group above its share of the work)"
    )
