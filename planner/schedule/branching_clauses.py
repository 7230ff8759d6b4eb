"""Clauses of the branching on job shops: what at least one of several literals must hold for."""

from __future__ import annotations

from typing import NamedTuple

from planner.machine_code import Compiled
from planner.schedule.branching_trail import (
    BUFFER,
    CLAUSE,
    CLAUSES,
    LITERALS,
    OUT_OF_ROOM,
    POOL,
    REASON,
    SPANS,
    TRAIL,
    contradict,
    hold,
    row_of,
)
from planner.schedule.classes import Ints

GLUE = 2
"""A clause that spans so few levels is never forgotten."""


class Clauses(NamedTuple):
    """Clauses, each watched at its first two literals: ``next[2 c + k]`` is the next watch of literal k of clause c."""

    lits: Ints
    begin: Ints  # by clause
    size: Ints
    worth: Ints  # by clause: the levels it spans when learnt, 0: never to be forgotten
    head: Ints  # by literal: the first watch
    next: Ints


@Compiled
def keep_clause(t, c, lits, n, worth):  # type: ignore[no-untyped-def]
    """Keep a clause of at least two literals, watched at the first two."""
    clause = t.reg[CLAUSES]
    begin = t.reg[LITERALS]
    c.begin[clause], c.size[clause], c.worth[clause] = begin, n, worth
    for x in range(n):
        c.lits[begin + x] = lits[x]
    for k in range(2):
        c.next[2 * clause + k] = c.head[lits[k]]
        c.head[lits[k]] = 2 * clause + k
    t.reg[CLAUSES] = clause + 1
    t.reg[LITERALS] = begin + n
    if clause + 2 >= len(c.begin) or begin + 2 * n + len(t.where) >= len(c.lits):
        t.reg[OUT_OF_ROOM] = 1
    return clause


@Compiled
def follow_clauses(t, s, c, what):  # type: ignore[no-untyped-def]
    """Clauses that watch the contrary of a literal that holds now."""
    false = what ^ 1
    before, watch = -1, c.head[false]
    while watch >= 0:
        after = c.next[watch]
        clause, k = watch >> 1, watch & 1
        b = c.begin[clause]
        other = c.lits[b + 1 - k]
        if t.value[other] > 0:
            before, watch = watch, after
            continue
        found = -1
        for x in range(b + 2, b + c.size[clause]):
            if t.value[c.lits[x]] >= 0:
                found = x
                break
        if found >= 0:
            lit = c.lits[found]
            c.lits[found], c.lits[b + k] = false, lit
            if before < 0:
                c.head[false] = after
            else:
                c.next[before] = after
            c.next[watch] = c.head[lit]
            c.head[lit] = watch
            watch = after
            continue
        if t.value[other] < 0:
            t.reg[BUFFER] = 0
            for x in range(b, b + c.size[clause]):
                contradict(t, row_of(t, c.lits[x]))
            return False
        hold(t, s, other, clause, t.reg[POOL])
        before, watch = watch, after
    return True


@Compiled
def forget(t, c, kept):  # type: ignore[no-untyped-def]
    """At level 0: leave out the clauses that hold, and of those learnt the ones that span the most levels."""
    counts = t.counts
    for x in range(SPANS):
        counts[x] = 0
    for clause in range(t.reg[CLAUSES]):
        counts[min(c.worth[clause], SPANS - 1)] += 1
    most, room = SPANS - 1, kept
    for worth in range(GLUE + 1, SPANS):
        room -= counts[worth]
        if room < 0:
            most = worth
            break
    n, end = 0, 0
    for lit in range(len(c.head)):
        c.head[lit] = -1
    for clause in range(t.reg[CLAUSES]):
        begin, size, worth = c.begin[clause], c.size[clause], c.worth[clause]
        useless = worth > GLUE and (worth > most or (worth == most and (clause & 1)))
        for x in range(begin, begin + size):
            useless |= t.value[c.lits[x]] > 0
        if useless:
            continue
        c.begin[n], c.size[n], c.worth[n] = end, size, worth
        for x in range(size):
            c.lits[end + x] = c.lits[begin + x]
        for k in range(2):
            lit = c.lits[end + k]
            c.next[2 * n + k] = c.head[lit]
            c.head[lit] = 2 * n + k
        n += 1
        end += size
    t.reg[CLAUSES], t.reg[LITERALS] = n, end


@Compiled
def reason_of(t, c, row, x):  # type: ignore[no-untyped-def]
    """The x-th row that a row follows from; -1 for one at level 0, -2 past the last."""
    clause = t.rows[row, CLAUSE]
    if clause >= 0:
        if x >= c.size[clause]:
            return -2
        other = row_of(t, c.lits[c.begin[clause] + x])
        return -1 if other == row else other
    begin = t.rows[row, REASON]
    end = t.rows[row + 1, REASON] if row + 1 < t.reg[TRAIL] else t.reg[POOL]
    return t.pool[begin + x] if begin + x < end else -2
