"""What the windows of tasks on one stream imply, for the branching on job shops.

Overload checking, edge finding, not-first and not-last (Carlier and Pinson, "An algorithm for solving the job-shop
problem", 1989; Baptiste and Le Pape; Vilim, "Global constraints in scheduling", 2007), and the ends of sets of tasks
that are known to precede another. All in the plain form that looks at every pair of a release and a due date: streams
have a few dozen tasks, and what counts is a short reason for each conclusion.

Each rule is stated for starts. The mirror, in which time runs backwards, gives it for ends.
"""

from __future__ import annotations

from planner.machine_code import Compiled
from planner.schedule.branching_trail import (
    BUFFER,
    EARLIEST,
    LATEST,
    POOL,
    SHORTEST,
    TRAIL,
    WORK,
    because,
    contradict,
    hold,
    row_of,
    since,
    tighten,
)


@Compiled
def look_at_streams(t, s):  # type: ignore[no-untyped-def]
    """Conclusions on the first streams whose windows have changed, until there are some. False: a contradiction."""
    job, lit, by, work = t.job, t.lit, t.by, t.work
    for r in range(len(t.dirty)):
        if not t.dirty[r]:
            continue
        t.dirty[r] = 0
        m = _members(t, s, job, lit, r)
        if m == 0:
            continue
        before = t.reg[TRAIL]
        if not _forth_and_back(t, s, job, lit, m, by, work, r):
            return False
        if t.reg[TRAIL] > before:
            return True
    return True


@Compiled
def _members(t, s, job, lit, r):  # type: ignore[no-untyped-def]
    """The tasks that are known to run on a stream, the literals that say so, and their number."""
    m = 0
    for x in range(s.on_ptr[r], s.on_ptr[r + 1]):
        if t.chosen[s.on_task[x]] == r:
            job[m], lit[m] = s.on_task[x], s.opt_lit[s.on[x]]
            m += 1
    return m


@Compiled
def _forth_and_back(t, s, job, lit, m, by, work, r):  # type: ignore[no-untyped-def]
    t.reg[WORK] += 2 * m * m
    for mirror in range(2):
        _windows(t, job, m, by, work, mirror)
        if m > 1:
            if not _edges(t, job, lit, m, by, work, mirror) or not _sets(t, s, job, lit, m, by, work, mirror):
                return False
            if m > 2 and not _not_first(t, job, lit, m, by, work, mirror):
                return False
        if mirror == 0 and not _optional(t, s, job, lit, m, by, work, r, mirror):
            return False
    return True


@Compiled
def _windows(t, job, m, by, work, mirror):  # type: ignore[no-untyped-def]
    """Release, due date and duration of each task, in mirrored time if asked for; ``by``: sorted by release."""
    ready, due, ticks = work[0], work[1], work[2]
    for i in range(m):
        k = 3 * job[i]
        a, b = t.bound[k + EARLIEST], t.bound[k + LATEST]
        ready[i], due[i], ticks[i] = (-b, -a, t.bound[k + SHORTEST]) if mirror else (a, b, t.bound[k + SHORTEST])
        j = i
        while j > 0 and ready[by[j - 1]] > ready[i]:
            by[j] = by[j - 1]
            j -= 1
        by[j] = i


@Compiled
def _released(t, task, need, mirror):  # type: ignore[no-untyped-def]
    """The row since which a task is released no earlier than ``need``."""
    return since(t, 3 * task + LATEST, -need) if mirror else since(t, 3 * task + EARLIEST, need)


@Compiled
def _due(t, task, need, mirror):  # type: ignore[no-untyped-def]
    """The row since which a task is due no later than ``need``."""
    return since(t, 3 * task + EARLIEST, -need) if mirror else since(t, 3 * task + LATEST, need)


@Compiled
def _because_of(t, task, lit, low, high, mirror):  # type: ignore[no-untyped-def]
    """A task runs here, and between these times."""
    because(t, _released(t, task, low, mirror))
    because(t, _due(t, task, high, mirror))
    because(t, t.last[3 * task + SHORTEST])
    because(t, row_of(t, lit))


@Compiled
def _release(t, task, new, mirror, begin):  # type: ignore[no-untyped-def]
    return tighten(t, 3 * task + LATEST, -new, begin) if mirror else tighten(t, 3 * task + EARLIEST, new, begin)


@Compiled
def _is_later(t, task, new, mirror):  # type: ignore[no-untyped-def]
    """Whether ``new`` is later than the release of a task is by now."""
    return -new < t.bound[3 * task + LATEST] if mirror else new > t.bound[3 * task + EARLIEST]


@Compiled
def _edges(t, job, lit, m, by, work, mirror):  # type: ignore[no-untyped-def]
    """Overload: tasks do not fit between a release and a due date. Edge finding: with one more they do not.

    Then that one comes after all of them.
    """
    ready, due, ticks, total, end, begins = work[0], work[1], work[2], work[3], work[4], work[5]
    for z in range(m):
        high = due[z]
        duplicate = False
        for y in range(z):
            duplicate |= due[y] == high
        if duplicate:
            continue
        # of the tasks due by then, by release from the last: their work so far, and the latest end it entails
        load, latest, begins_at = 0, ready[by[0]], ready[by[0]]
        for x in range(m - 1, -1, -1):
            i = by[x]
            if due[i] <= high:
                load += ticks[i]
                if ready[i] + load > latest:
                    latest, begins_at = ready[i] + load, ready[i]
                if ready[i] + load > high:
                    _overload(t, job, lit, m, work, ready[i], high, ready[i] + load - high - 1, mirror)
                    return False
            total[x], end[x], begins[x] = load, latest, begins_at
        for i in range(m):
            if due[i] <= high or latest + ticks[i] <= high:  # with it, too, they fit
                continue
            for x in range(m):
                j = by[x]
                if due[j] > high:
                    continue
                if end[x] <= ready[i]:
                    break
                low = min(ready[i], ready[j])
                spare = low + total[x] + ticks[i] - high - 1
                if spare < 0:
                    continue
                if _is_later(t, job[i], end[x], mirror):
                    begin = t.reg[POOL]
                    for y in range(m):
                        u = by[y]
                        if due[u] <= high and ready[u] >= ready[j]:
                            least = begins[x] if ready[u] >= begins[x] else low
                            _because_of(t, job[u], lit[u], least, high + spare, mirror)
                    because(t, _released(t, job[i], low, mirror))
                    because(t, t.last[3 * job[i] + SHORTEST])
                    because(t, row_of(t, lit[i]))
                    if not _release(t, job[i], end[x], mirror, begin):
                        return False
                break
    return True


@Compiled
def _overload(t, job, lit, m, work, low, high, spare, mirror):  # type: ignore[no-untyped-def]
    """Put the conflict together: these tasks and windows."""
    ready, due = work[0], work[1]
    t.reg[BUFFER] = 0
    for i in range(m):
        if due[i] <= high and ready[i] >= low:
            contradict(t, _released(t, job[i], low, mirror))
            contradict(t, _due(t, job[i], high + spare, mirror))
            contradict(t, t.last[3 * job[i] + SHORTEST])
            contradict(t, row_of(t, lit[i]))


@Compiled
def _sets(t, s, job, lit, m, by, work, mirror):  # type: ignore[no-untyped-def]
    """A task starts after the end of all that must precede it here."""
    ready, ticks = work[0], work[2]
    for i in range(m):
        load, latest, low, members = 0, ready[by[0]], ready[by[0]], 0
        for x in range(m - 1, -1, -1):
            j = by[x]
            if j == i:
                continue
            before = s.pair[job[i], job[j]] if mirror else s.pair[job[j], job[i]]
            if before < 0 or t.value[before] <= 0:
                continue
            load += ticks[j]
            members += 1
            if ready[j] + load > latest:
                latest, low = ready[j] + load, ready[j]
        if members < 2 or not _is_later(t, job[i], latest, mirror):
            continue
        begin = t.reg[POOL]
        for j in range(m):
            if j == i or ready[j] < low:
                continue
            before = s.pair[job[i], job[j]] if mirror else s.pair[job[j], job[i]]
            if before < 0 or t.value[before] <= 0:
                continue
            because(t, _released(t, job[j], low, mirror))
            because(t, t.last[3 * job[j] + SHORTEST])
            because(t, row_of(t, lit[j]))
            because(t, row_of(t, before))
        because(t, row_of(t, lit[i]))
        if not _release(t, job[i], latest, mirror, begin):
            return False
    return True


@Compiled
def _not_first(t, job, lit, m, by, work, mirror):  # type: ignore[no-untyped-def]
    """Where a task before some others would make them late, it starts after the first end among them."""
    ready, due, ticks, order = work[0], work[1], work[2], work[3]
    for i in range(m):  # by earliest end, the last first
        j = i
        while j > 0 and ready[order[j - 1]] + ticks[order[j - 1]] < ready[i] + ticks[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
    for z in range(m):
        high = due[z]
        total = 0
        for i in range(m):
            total += ticks[i] if due[i] <= high else 0
        for i in range(m):
            if ready[i] + total + (ticks[i] if due[i] > high else 0) <= high:  # it may come before all of them
                continue
            load = 0
            for x in range(m):
                j = order[x]
                if ready[j] + ticks[j] <= ready[i]:
                    break
                if j == i or due[j] > high:
                    continue
                load += ticks[j]
                spare = ready[i] + ticks[i] + load - high - 1
                if spare < 0:
                    continue
                new = ready[j] + ticks[j]
                if _is_later(t, job[i], new, mirror):
                    begin = t.reg[POOL]
                    for y in range(x + 1):
                        u = order[y]
                        if u != i and due[u] <= high:
                            _because_of(t, job[u], lit[u], new - ticks[u], high + spare, mirror)
                    because(t, _released(t, job[i], ready[i], mirror))
                    because(t, t.last[3 * job[i] + SHORTEST])
                    because(t, row_of(t, lit[i]))
                    if not _release(t, job[i], new, mirror, begin):
                        return False
                break
    return True


@Compiled
def _optional(t, s, job, lit, m, by, work, r, mirror):  # type: ignore[no-untyped-def]
    """A task does not run here if that overloaded the stream. Asked forwards only: the mirror would say the same."""
    ready, due, ticks = work[0], work[1], work[2]
    for y in range(s.on_ptr[r], s.on_ptr[r + 1]):
        o, task = s.on[y], s.on_task[y]
        own = s.opt_lit[o]
        if t.value[own] != 0:
            continue
        first, last, more = t.bound[3 * task + EARLIEST], t.bound[3 * task + LATEST], s.opt_ticks[o]
        done = False
        for z in range(m):
            high = max(due[z], last)
            load = more
            for x in range(m - 1, -1, -1):
                i = by[x]
                if due[i] > high:
                    continue
                load += ticks[i]
                low = min(ready[i], first)
                spare = low + load - high - 1
                if spare < 0:
                    continue
                begin = t.reg[POOL]
                for u in range(m):
                    if due[u] <= high and ready[u] >= ready[i]:
                        _because_of(t, job[u], lit[u], low, high + spare, mirror)
                because(t, since(t, 3 * task + EARLIEST, low))
                because(t, since(t, 3 * task + LATEST, high + spare))
                hold(t, s, own ^ 1, -1, begin)
                done = True
                break
            if done:
                break
    return True
