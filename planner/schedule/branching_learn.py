"""Learning from contradictions in the branching on job shops, and the loop of decisions.

As in solvers for propositional logic with clause learning (Marques-Silva and Sakallah, "GRASP", 1999; Een and
Soerensson, "An extensible SAT-solver", 2003), with bounds of times explained on demand down to literals, as lazy
clause generation does (Ohrimenko, Stuckey and Codish, "Propagation via lazy clause generation", 2009; Schutt et al.
for scheduling): each contradiction is traced to decisions, and a clause keeps it from coming back.
"""

from __future__ import annotations

from typing import NamedTuple

from planner.machine_code import Compiled
from planner.schedule.branching_clauses import forget, keep_clause, reason_of
from planner.schedule.branching_propagate import propagate
from planner.schedule.branching_trail import (
    ASSUMED,
    BUFFER,
    CONFLICTS,
    EARLIEST,
    LATEST,
    LEARNT_AT,
    LEVEL,
    LEVELS,
    MOST,
    OUT_OF_ROOM,
    POOL,
    RESTARTS,
    WHAT,
    WORK,
    descend,
    hold,
    tighten,
    undo,
)
from planner.schedule.classes import Floats, Ints

FOUND, NOTHING, CUT, GIVEN_UP, EXHAUSTED, PAUSED = range(6)
"""A schedule; proof that there is none where the literal holds; the budget is spent; out of room; proof for all limits;
not yet, ask again."""

PAUSE = 5_000_000
"""Pairs of tasks and variables looked at until ``look`` pauses: some tens of milliseconds."""

RESTART = 100
"""Conflicts between restarts, times the terms of Luby's sequence."""

DECAY = 0.95
KEPT = 4_000
"""Learnt clauses kept at first; the more, the more restarts."""

STEPS = 300
"""Rows looked at to find out whether a literal of a clause is redundant."""


class Taste(NamedTuple):
    """What decisions go by: how often variables took part in contradictions, and the values of the best schedule."""

    activity: Floats
    growth: Floats  # of what the next contradiction adds
    hint: Ints  # by variable: its value in the best schedule, -1


@Compiled
def _bump(taste, var):  # type: ignore[no-untyped-def]
    taste.activity[var] += taste.growth[0]
    if taste.activity[var] > 1e100:
        for other in range(len(taste.activity)):
            taste.activity[other] *= 1e-100
        taste.growth[0] *= 1e-100


@Compiled
def _is_redundant(t, c, row, stack):  # type: ignore[no-untyped-def]
    """Whether a row follows from others that the clause holds already."""
    depth, steps = 1, 0
    stack[0] = row
    while depth > 0:
        depth -= 1
        one = stack[depth]
        x = 0
        while True:
            other = reason_of(t, c, one, x)
            if other == -2:
                break
            x += 1
            if other < 0 or t.rows[other, LEVEL] == 0 or (t.seen[other] and t.rows[other, WHAT] >= 0):
                continue
            steps += 1
            if steps > STEPS or other == t.level_at[t.rows[other, LEVEL]]:  # a decision
                return False
            stack[depth] = other
            depth += 1
    return True


@Compiled
def _learn(t, c, taste, clause, stack):  # type: ignore[no-untyped-def]
    """From the rows in the buffer: a clause, its literals and their number, the level to go back to, its levels.

    Its first literal is the only one of the level of the contradiction; 0 literals where nothing is left to undo.
    """
    rows = t.rows
    level = 0
    for x in range(t.reg[BUFFER]):
        level = max(level, rows[t.buffer[x], LEVEL])
    if level == 0:
        return 0, 0, 0
    here, all_ = 0, 0
    top = 0
    for x in range(t.reg[BUFFER]):
        row = t.buffer[x]
        if not t.seen[row]:
            t.seen[row] = 1
            all_ += 1
            here += rows[row, LEVEL] == level
            top = max(top, row)
    n = 1
    row = top + 1
    while all_ > 0:
        row -= 1
        if not t.seen[row]:
            continue
        all_ -= 1
        what = rows[row, WHAT]
        now = rows[row, LEVEL] == level
        if what >= 0:
            _bump(taste, what >> 1)
            if now and here == 1:
                clause[0] = what ^ 1
                here = 0
                continue
            if not now:
                clause[n] = row
                n += 1
                continue
        here -= now
        x = 0
        while True:
            other = reason_of(t, c, row, x)
            if other == -2:
                break
            x += 1
            if other >= 0 and rows[other, LEVEL] > 0 and not t.seen[other]:
                t.seen[other] = 1
                all_ += 1
                here += rows[other, LEVEL] == level
        if what < 0 or now:
            t.seen[row] = 2
    return _finish(t, c, clause, n, top, stack)


@Compiled
def _finish(t, c, clause, n, top, stack):  # type: ignore[no-untyped-def]
    """Leave out redundant literals; put one of the highest other level second."""
    rows = t.rows
    for x in range(top + 1):  # only the clause's own rows count as known
        if t.seen[x] == 2:
            t.seen[x] = 0
    kept = 1
    for x in range(1, n):
        row = clause[x]
        if row == t.level_at[rows[row, LEVEL]] or not _is_redundant(t, c, row, stack):
            clause[kept] = row
            kept += 1
    for x in range(top + 1):
        t.seen[x] = 0
    back, spanned = 0, 1
    for x in range(1, kept):
        level = rows[clause[x], LEVEL]
        fresh = True
        for y in range(1, x):
            fresh &= rows[clause[y], LEVEL] != level
        spanned += fresh
    for x in range(1, kept):
        level = rows[clause[x], LEVEL]
        if level > back:
            back = level
            clause[1], clause[x] = clause[x], clause[1]
    for x in range(1, kept):
        clause[x] = rows[clause[x], WHAT] ^ 1
    return kept, back, spanned


@Compiled
def _decide(t, s, taste):  # type: ignore[no-untyped-def]
    """The most active of the open choices of a stream and the open orders on one stream; -1: all is decided."""
    best, most = -1, -1.0
    for var in range(1, len(t.where)):
        if t.value[2 * var] != 0 or taste.activity[var] <= most:
            continue
        a, b = s.arc[2 * var, 0], s.arc[2 * var, 1]
        if a >= 0:
            if t.chosen[a] < 0 or t.chosen[a] != t.chosen[b] or t.value[s.pair[b, a]] > 0:
                continue
        elif s.task_of[var] < 0:
            continue
        best, most = var, taste.activity[var]
    if best < 0:
        return -1
    if taste.hint[best] >= 0:
        return 2 * best + 1 - taste.hint[best]
    a, b = s.arc[2 * best, 0], s.arc[2 * best, 1]
    if a < 0:
        return 2 * best
    early = t.bound[3 * a + EARLIEST] + t.bound[3 * a + LATEST] <= t.bound[3 * b + EARLIEST] + t.bound[3 * b + LATEST]
    return 2 * best + (0 if early else 1)


@Compiled
def _luby(i):  # type: ignore[no-untyped-def]
    """The i-th term (from 0) of 1 1 2 1 1 2 4 ..."""
    size, power = 1, 0
    while size < i + 1:
        size = 2 * size + 1
        power += 1
    while size - 1 != i:
        size = (size - 1) // 2
        power -= 1
        i %= size
    return 1 << power


@Compiled
def look(t, s, c, taste, assumed, most, budget):  # type: ignore[no-untyped-def]
    """Look for a schedule of at most ``most`` ticks in which the literal ``assumed`` holds, for so many conflicts.

    ``PAUSED``: it goes on where it was if asked the same again. ``FOUND``: the schedule stands in ``t.found_start``
    and ``t.found_on``.
    """
    clause, stack = t.clause, t.stack
    if t.reg[ASSUMED] != assumed or t.reg[MOST] != most:
        undo(t, s, 0)
        t.reg[ASSUMED], t.reg[MOST] = assumed, most
    pause = t.reg[WORK] + PAUSE
    end = t.reg[CONFLICTS] + budget
    until = t.reg[CONFLICTS] + RESTART * _luby(t.reg[RESTARTS])
    for task in range(len(s.sink)):
        k = 3 * task + LATEST
        if s.sink[task] and most < t.bound[k] and not tighten(t, k, most, t.reg[POOL]):
            return EXHAUSTED
    while True:
        if not propagate(t, s, c):
            t.reg[CONFLICTS] += 1
            n, back, spanned = _learn(t, c, taste, clause, stack)
            if n == 0:
                return EXHAUSTED
            undo(t, s, back)
            number = -1
            if n > 1:
                number = keep_clause(t, c, clause, n, spanned)
                t.reg[LEARNT_AT] += 1
            hold(t, s, clause[0], number, t.reg[POOL])
            taste.growth[0] /= DECAY
            continue
        if t.reg[OUT_OF_ROOM]:
            undo(t, s, 0)
            return GIVEN_UP
        if t.reg[CONFLICTS] >= end:
            undo(t, s, 0)
            return CUT
        if t.reg[CONFLICTS] >= until:
            undo(t, s, 0)
            t.reg[RESTARTS] += 1
            until = t.reg[CONFLICTS] + RESTART * _luby(t.reg[RESTARTS])
            kept = KEPT + 50 * t.reg[RESTARTS]
            if t.reg[LEARNT_AT] > kept:
                forget(t, c, kept // 2)
                t.reg[LEARNT_AT] = 0
            continue
        if t.reg[LEVELS] == 0 and t.value[assumed] <= 0:
            if t.value[assumed] < 0:
                return NOTHING
            lit = assumed
        else:
            if t.reg[WORK] >= pause:
                return PAUSED
            t.reg[WORK] += len(t.where)
            lit = _decide(t, s, taste)
            if lit < 0:
                for task in range(len(s.sink)):
                    t.found_start[task] = t.bound[3 * task + EARLIEST]
                    t.found_on[task] = t.chosen[task]
                undo(t, s, 0)
                return FOUND
        descend(t)
        hold(t, s, lit, -1, t.reg[POOL])
