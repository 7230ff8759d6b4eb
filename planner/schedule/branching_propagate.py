"""What follows from a decision in the branching on job shops, each time with its reason."""

from __future__ import annotations

from planner.machine_code import Compiled
from planner.schedule.branching_clauses import follow_clauses
from planner.schedule.branching_streams import look_at_streams
from planner.schedule.branching_trail import (
    ARC,
    BUFFER,
    EARLIEST,
    LATEST,
    LEVEL,
    LEVELS,
    LOOKED,
    PARENT,
    POOL,
    SHORTEST,
    TRAIL,
    TRUE,
    WHAT,
    because,
    contradict,
    hold,
    row_of,
    since,
    tighten,
)


@Compiled
def propagate(t, s, c):  # type: ignore[no-untyped-def]
    """Draw all conclusions. False where there is a contradiction: its rows are in the buffer."""
    reg, rows = t.reg, t.rows
    while True:
        while reg[LOOKED] < reg[TRAIL]:
            row = reg[LOOKED]
            reg[LOOKED] += 1
            what = rows[row, WHAT]
            if what >= 0:
                if not follow_clauses(t, s, c, what):
                    return False
                var = what >> 1
                if s.arc[what, 0] >= 0:
                    if not _order(t, s, what, row):
                        return False
                elif s.task_of[var] >= 0:
                    if not _option(t, s, var, what, row):
                        return False
                elif s.most[var] >= 0 and not what & 1 and not _limit(t, s, var, row):
                    return False
                continue
            k = -1 - what
            task = k // 3
            for o in range(s.opt_ptr[task], s.opt_ptr[task + 1]):
                if t.value[s.opt_lit[o]] >= 0:
                    t.dirty[s.opt_stream[o]] = 1
            if k % 3 != LATEST and not _later(t, s, task):
                return False
            if k % 3 != EARLIEST and not _earlier(t, s, task):
                return False
            if not _options(t, s, task):
                return False
        if not look_at_streams(t, s):
            return False
        if reg[LOOKED] == reg[TRAIL]:
            return True


@Compiled
def _set(t, s, lit, a, b):  # type: ignore[no-untyped-def]
    """A literal holds because of two rows. False where its contrary holds."""
    if t.value[lit] > 0:
        return True
    if t.value[lit] < 0:
        t.reg[BUFFER] = 0
        contradict(t, a)
        contradict(t, b)
        contradict(t, row_of(t, lit))
        return False
    begin = t.reg[POOL]
    because(t, a)
    because(t, b)
    hold(t, s, lit, -1, begin)
    return True


@Compiled
def _order(t, s, lit, row):  # type: ignore[no-untyped-def]
    """One task now precedes another: not the other way round, and with what precedes the one and follows the other."""
    a, b = s.arc[lit, 0], s.arc[lit, 1]
    contrary = s.pair[b, a]
    if contrary != lit ^ 1 and contrary >= 0 and not _set(t, s, contrary ^ 1, row, row):
        return False
    for x in range(s.adj_ptr[a], s.adj_ptr[a + 1]):
        u = s.adj[x]
        if u == b:
            continue
        on = s.pair[b, u]
        if on >= 0 and t.value[on] > 0 and not _set(t, s, s.pair[a, u], row, row_of(t, on)):
            return False
    for x in range(s.adj_ptr[b], s.adj_ptr[b + 1]):
        u = s.adj[x]
        if u == a:
            continue
        on = s.pair[u, a]
        if on >= 0 and t.value[on] > 0 and not _set(t, s, s.pair[u, b], row, row_of(t, on)):
            return False
    for x in range(s.opt_ptr[a], s.opt_ptr[a + 1]):
        t.dirty[s.opt_stream[x]] = 1
    return _push_later(t, s, a, b, row) and _push_earlier(t, s, a, b, row)


@Compiled
def _option(t, s, var, lit, row):  # type: ignore[no-untyped-def]
    """A task runs on a stream (so on no other), or does not (so its shortest duration may grow)."""
    task = s.task_of[var]
    lo, hi = s.opt_ptr[task], s.opt_ptr[task + 1]
    if not lit & 1:
        t.dirty[s.opt_stream[s.option_of[var]]] = 1
        for o in range(lo, hi):
            if s.opt_lit[o] == lit:
                continue
            if not _set(t, s, s.opt_lit[o] ^ 1, row, row):
                return False
        return True
    shortest = -1
    for o in range(lo, hi):
        if t.value[s.opt_lit[o]] >= 0 and (shortest < 0 or s.opt_ticks[o] < shortest):
            shortest = s.opt_ticks[o]
    k = 3 * task + SHORTEST
    if shortest > t.bound[k]:
        begin = t.reg[POOL]
        for o in range(lo, hi):
            if s.opt_ticks[o] < shortest:
                because(t, row_of(t, s.opt_lit[o]))
        return tighten(t, k, shortest, begin)
    return True


@Compiled
def _limit(t, s, var, row):  # type: ignore[no-untyped-def]
    """The makespan is limited."""
    most = s.most[var]
    for v in range(len(s.most)):
        if s.most[v] >= most and v != var and not _set(t, s, 2 * v, row, row):
            return False
    for task in range(len(s.sink)):
        if s.sink[task] and most < t.bound[3 * task + LATEST]:
            begin = t.reg[POOL]
            because(t, row)
            if not tighten(t, 3 * task + LATEST, most, begin):
                return False
    return True


@Compiled
def _push_later(t, s, a, b, arc):  # type: ignore[no-untyped-def]
    """Task b starts after a ends."""
    new = t.bound[3 * a + EARLIEST] + t.bound[3 * a + SHORTEST]
    if new <= t.bound[3 * b + EARLIEST]:
        return True
    return _pass_on(t, s, 3 * a + EARLIEST, 3 * a + SHORTEST, 3 * b + EARLIEST, new, arc)


@Compiled
def _push_earlier(t, s, a, b, arc):  # type: ignore[no-untyped-def]
    """Task a ends before b starts."""
    new = t.bound[3 * b + LATEST] - t.bound[3 * b + SHORTEST]
    if new >= t.bound[3 * a + LATEST]:
        return True
    return _pass_on(t, s, 3 * b + LATEST, 3 * b + SHORTEST, 3 * a + LATEST, new, arc)


@Compiled
def _pass_on(t, s, source, shortest, target, new, arc):  # type: ignore[no-untyped-def]
    """Tighten a bound to what follows from another one, from a shortest duration and from an order."""
    if _is_cycle(t, s, source, target, arc):
        return False
    begin = t.reg[POOL]
    parent = t.last[source]
    because(t, parent)
    because(t, t.last[shortest])
    because(t, arc)
    row = t.reg[TRAIL]
    good = tighten(t, target, new, begin)
    t.rows[row, PARENT], t.rows[row, ARC] = parent, arc
    return good


@Compiled
def _is_cycle(t, s, source, target, arc):  # type: ignore[no-untyped-def]
    """Whether the bound that is to be passed on came from its target within this level: a circle of orders.

    Without this, bounds would climb round the circle step by step. The conflict is the circle's orders alone.
    """
    row = t.last[target]
    if row < 0 or t.rows[row, LEVEL] < t.reg[LEVELS]:
        return False
    row = t.last[source]
    while row >= 0 and t.rows[row, LEVEL] == t.reg[LEVELS]:
        if -1 - t.rows[row, WHAT] == target:
            break
        row = t.rows[row, PARENT]
    if row < 0 or t.rows[row, LEVEL] < t.reg[LEVELS]:
        return False
    stop = row
    t.reg[BUFFER] = 0
    contradict(t, arc)
    task = target // 3
    instant = True  # whatever is decided on streams
    for o in range(s.opt_ptr[task], s.opt_ptr[task + 1]):
        instant &= s.opt_ticks[o] == 0
    if instant:
        contradict(t, t.last[3 * task + SHORTEST])
    row = t.last[source]
    while row != stop:
        contradict(t, t.rows[row, ARC])
        if instant:
            contradict(t, t.last[(-1 - t.rows[row, WHAT]) // 3 * 3 + SHORTEST])
        row = t.rows[row, PARENT]
    return True


@Compiled
def _later(t, s, a):  # type: ignore[no-untyped-def]
    """Task a starts later, or takes longer: so does what follows; and it may no longer precede others."""
    for x in range(s.succ_ptr[a], s.succ_ptr[a + 1]):
        if not _push_later(t, s, a, s.succ[x], row_of(t, TRUE)):
            return False
    for x in range(s.adj_ptr[a], s.adj_ptr[a + 1]):
        b = s.adj[x]
        lit = s.pair[a, b]
        if t.value[lit] > 0:
            if not _push_later(t, s, a, b, row_of(t, lit)):
                return False
        elif t.value[lit] == 0 and not _forbid(t, s, a, b, lit):
            return False
    return True


@Compiled
def _earlier(t, s, b):  # type: ignore[no-untyped-def]
    """Task b ends earlier, or takes longer: what precedes it ends earlier; and it may no longer follow others."""
    for x in range(s.pred_ptr[b], s.pred_ptr[b + 1]):
        if not _push_earlier(t, s, s.pred[x], b, row_of(t, TRUE)):
            return False
    for x in range(s.adj_ptr[b], s.adj_ptr[b + 1]):
        a = s.adj[x]
        lit = s.pair[a, b]
        if t.value[lit] > 0:
            if not _push_earlier(t, s, a, b, row_of(t, lit)):
                return False
        elif t.value[lit] == 0 and not _forbid(t, s, a, b, lit):
            return False
    return True


@Compiled
def _forbid(t, s, a, b, lit):  # type: ignore[no-untyped-def]
    """Task a does not precede b where both would not fit between the start of one and the end of the other."""
    bound = t.bound
    ready, end = bound[3 * a + EARLIEST], bound[3 * b + LATEST]
    spare = ready + bound[3 * a + SHORTEST] + bound[3 * b + SHORTEST] - end - 1
    if spare < 0:
        return True
    begin = t.reg[POOL]
    row = since(t, 3 * a + EARLIEST, ready - spare)
    because(t, row)
    because(t, since(t, 3 * b + LATEST, end + (spare if row == t.last[3 * a + EARLIEST] else 0)))
    because(t, t.last[3 * a + SHORTEST])
    because(t, t.last[3 * b + SHORTEST])
    hold(t, s, lit ^ 1, -1, begin)
    return True


@Compiled
def _options(t, s, task):  # type: ignore[no-untyped-def]
    """A task does not run where it would take longer than its window."""
    ready, end = t.bound[3 * task + EARLIEST], t.bound[3 * task + LATEST]
    for o in range(s.opt_ptr[task], s.opt_ptr[task + 1]):
        lit = s.opt_lit[o]
        spare = ready + s.opt_ticks[o] - end - 1
        if spare < 0 or t.value[lit] < 0:
            continue
        row = since(t, 3 * task + EARLIEST, ready - spare)
        other = since(t, 3 * task + LATEST, end + (spare if row == t.last[3 * task + EARLIEST] else 0))
        if not _set(t, s, lit ^ 1, row, other):
            return False
    return True
