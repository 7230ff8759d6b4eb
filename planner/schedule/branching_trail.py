"""The state of the branching on job shops: what is decided, why, and how it is undone.

Two kinds of facts stand on one trail, each with the earlier facts that it follows from: literals (one task before
another, a task on a stream, a makespan of at most so much), and bounds of times (``EARLIEST`` start, ``LATEST`` end,
``SHORTEST`` duration of a task, in ticks). What holds whatever is decided has level 0 and needs no reason.

Literal 2 v says that variable v holds, 2 v + 1 that it does not; variable 0 always holds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.machine_code import Compiled
from planner.schedule.classes import Ints

EARLIEST, LATEST, SHORTEST = range(3)
TRUE, FALSE, NONE = 0, 1, -1
TAIL = 2**60  # later than any end

# columns of a row of the trail
WHAT, OLD, PREVIOUS, LEVEL, REASON, CLAUSE, PARENT, ARC = range(8)

# registers
TRAIL, LOOKED, LEVELS, POOL, BUFFER, CLAUSES, LITERALS, CONFLICTS, LEARNT_AT, RESTARTS, WORK, OUT_OF_ROOM = range(12)
ASSUMED, MOST = 12, 13
REGISTERS = 14
SPANS = 1024  # of clauses that span more levels none is longer-lived than another


class Trail(NamedTuple):
    """What is known, and why.

    A row holds: ``WHAT`` was found (a literal; -1 - k for bound k = 3 x task + kind), the ``OLD`` bound, the row of
    the ``PREVIOUS`` change of that bound, the ``LEVEL``, where its ``REASON`` begins in the pool (it ends where that
    of the next row begins) or the ``CLAUSE`` that is it, and for a bound that came along an arc the row of that of
    the ``PARENT`` and that of the literal of the ``ARC``.
    """

    rows: Ints
    pool: Ints  # rows of the trail: reasons one after another
    level_at: Ints  # the row with which each level begins
    bound: Ints
    last: Ints  # by bound: the row of its last change, -1
    value: Ints  # by literal: 1 true, -1 false, 0 open
    where: Ints  # by variable: its row, -1
    chosen: Ints  # by task: the stream that it runs on, -1 while open
    phase: Ints  # by variable: its last value
    seen: Ints  # by row, while a conflict is looked at
    buffer: Ints  # the rows that contradict each other, or a clause in the making
    dirty: Ints  # by stream: whether its windows have changed
    reg: Ints
    found_start: Ints  # by task: the schedule that was found last
    found_on: Ints  # by task: its stream
    job: Ints  # from here on: room to work in; by task
    lit: Ints
    by: Ints
    work: Ints  # six rows
    clause: Ints  # as the buffer
    stack: Ints
    counts: Ints


class Shop(NamedTuple):
    """What never changes: tasks, their order, the streams that they may run on, and what the literals say."""

    succ_ptr: Ints
    succ: Ints
    pred_ptr: Ints
    pred: Ints
    sink: Ints  # by task: 1 where nothing follows
    opt_ptr: Ints
    opt_stream: Ints
    opt_ticks: Ints
    opt_lit: Ints
    pair: Ints  # [t, u]: the literal "t before u"; TRUE or FALSE where inputs say so, NONE where they never meet
    adj_ptr: Ints  # by task: those that it may meet, and whose order is open at first
    adj: Ints
    arc: Ints  # [literal]: (t, u) where it says "t before u", else -1
    task_of: Ints  # by variable: the task whose option it is, -1
    option_of: Ints  # by variable: that option, -1
    most: Ints  # by variable: ticks that the makespan may take if it holds, -1
    on_ptr: Ints  # by stream: the options that use it, and their tasks
    on: Ints
    on_task: Ints


@Compiled
def because(t, row):  # type: ignore[no-untyped-def]
    """Add a row to the reason that is being put together for the next row."""
    if row >= 0 and t.rows[row, LEVEL] > 0:
        t.pool[t.reg[POOL]] = row
        t.reg[POOL] += 1


@Compiled
def contradict(t, row):  # type: ignore[no-untyped-def]
    """Add a row to those that contradict each other."""
    if row >= 0 and t.rows[row, LEVEL] > 0:
        t.buffer[t.reg[BUFFER]] = row
        t.reg[BUFFER] += 1


@Compiled
def _append(t, what, old, previous, clause, begin):  # type: ignore[no-untyped-def]
    row = t.reg[TRAIL]
    t.rows[row, WHAT], t.rows[row, OLD], t.rows[row, PREVIOUS] = what, old, previous
    t.rows[row, LEVEL], t.rows[row, REASON], t.rows[row, CLAUSE] = t.reg[LEVELS], begin, clause
    t.rows[row, PARENT], t.rows[row, ARC] = -1, -1
    t.reg[TRAIL] = row + 1
    if row + 64 > len(t.rows) or t.reg[POOL] + 100_000 > len(t.pool):
        t.reg[OUT_OF_ROOM] = 1
    return row


@Compiled
def hold(t, s, lit, clause, begin):  # type: ignore[no-untyped-def]
    """Note that an open literal holds; its reason is a clause (-1: none), or in the pool from ``begin`` on."""
    row = _append(t, lit, 0, -1, clause, begin)
    t.value[lit], t.value[lit ^ 1] = 1, -1
    var = lit >> 1
    t.where[var] = row
    if s.task_of[var] >= 0 and not lit & 1:
        t.chosen[s.task_of[var]] = s.opt_stream[s.option_of[var]]


@Compiled
def row_of(t, lit):  # type: ignore[no-untyped-def]
    """The row of a literal that holds or whose contrary holds; -1 at level 0."""
    return t.where[lit >> 1]


@Compiled
def tighten(t, k, new, begin):  # type: ignore[no-untyped-def]
    """Set bound k, for the reason in the pool from ``begin`` on. False where the task has no room left.

    Then the conflict stands in the buffer.
    """
    row = _append(t, -1 - k, t.bound[k], t.last[k], -1, begin)
    t.bound[k] = new
    t.last[k] = row
    first = k - k % 3
    spare = t.bound[first + EARLIEST] + t.bound[first + SHORTEST] - t.bound[first + LATEST] - 1
    if spare < 0:
        return True
    t.reg[BUFFER] = 0
    row = since(t, first + EARLIEST, t.bound[first + EARLIEST] - spare)
    contradict(t, row)
    spare = spare if row == t.last[first + EARLIEST] else 0
    contradict(t, since(t, first + LATEST, t.bound[first + LATEST] + spare))
    contradict(t, t.last[first + SHORTEST])
    return False


@Compiled
def since(t, k, need):  # type: ignore[no-untyped-def]
    """The row that first made bound k at least as tight as ``need``; -1 where that holds from the beginning."""
    row = t.last[k]
    late = k % 3 == LATEST
    while row >= 0:
        old = t.rows[row, OLD]
        if (old > need) if late else (old < need):
            break
        row = t.rows[row, PREVIOUS]
    return row


@Compiled
def undo(t, s, level):  # type: ignore[no-untyped-def]
    """Go back to a level."""
    if t.reg[LEVELS] <= level:
        return
    end = t.level_at[level + 1]
    for row in range(t.reg[TRAIL] - 1, end - 1, -1):
        what = t.rows[row, WHAT]
        if what >= 0:
            var = what >> 1
            t.value[what] = t.value[what ^ 1] = 0
            t.where[var] = -1
            t.phase[var] = 1 - (what & 1)
            if s.task_of[var] >= 0 and not what & 1:
                t.chosen[s.task_of[var]] = -1
        else:
            k = -1 - what
            t.bound[k] = t.rows[row, OLD]
            t.last[k] = t.rows[row, PREVIOUS]
    t.reg[POOL] = t.rows[end, REASON]
    t.reg[TRAIL] = t.reg[LOOKED] = end
    t.reg[LEVELS] = level
    if level == 0:  # what is left holds whatever is decided
        for row in range(end):
            what = t.rows[row, WHAT]
            if what >= 0:
                t.where[what >> 1] = -1
            else:
                t.last[-1 - what] = -1
        t.reg[TRAIL] = t.reg[LOOKED] = t.reg[POOL] = 0
    for r in range(len(t.dirty)):
        t.dirty[r] = 0


@Compiled
def descend(t):  # type: ignore[no-untyped-def]
    """Begin a new level."""
    t.reg[LEVELS] += 1
    t.level_at[t.reg[LEVELS]] = t.reg[TRAIL]


def empty_trail(tasks: int, variables: int, streams: int, rows: int, pool: int) -> Trail:
    """Nothing decided; only variable 0 holds."""
    value = np.zeros(2 * variables, dtype=np.int64)
    value[TRUE], value[FALSE] = 1, -1
    bound = np.zeros(3 * tasks, dtype=np.int64)
    bound[LATEST::3] = TAIL
    return Trail(
        rows=np.empty((rows, 8), dtype=np.int64),
        pool=np.empty(pool, dtype=np.int64),
        level_at=np.zeros(variables + 2, dtype=np.int64),
        bound=bound,
        last=np.full(3 * tasks, -1, dtype=np.int64),
        value=value,
        where=np.full(variables, -1, dtype=np.int64),
        chosen=np.full(tasks, -1, dtype=np.int64),
        phase=np.full(variables, -1, dtype=np.int64),
        seen=np.zeros(rows, dtype=np.int64),
        buffer=np.empty(max(rows, variables + 2), dtype=np.int64),
        dirty=np.zeros(streams, dtype=np.int64),
        reg=np.zeros(REGISTERS, dtype=np.int64),
        found_start=np.zeros(tasks, dtype=np.int64),
        found_on=np.zeros(tasks, dtype=np.int64),
        job=np.zeros(tasks, dtype=np.int64),
        lit=np.zeros(tasks, dtype=np.int64),
        by=np.zeros(tasks, dtype=np.int64),
        work=np.zeros((6, tasks), dtype=np.int64),
        clause=np.zeros(max(rows, variables + 2), dtype=np.int64),
        stack=np.zeros(max(rows, variables + 2), dtype=np.int64),
        counts=np.zeros(SPANS, dtype=np.int64),
    )
