"""The keys of rules, compiled: key by key as the rules say, without Python's lock.

Every list schedule of a search has keys of its own. Dozens of numpy calls would hold the lock for each, and another
thread would wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from planner.common.compiled import compiled
from planner.scheduling.classes import Classes, Floats, Ints

COMPILED = {"nogil": True, "error_model": "numpy"}


class Keying(NamedTuple):
    """What keys depend on besides a rule: arrays over classes, and what follows from them."""

    copy: Ints
    pass_: Ints  # at most 3: what comes once a step
    head: Floats  # seconds
    tail: Floats  # seconds
    deferrable: Floats  # 1 of a weight gradient that releases no memory, else 0
    stage_round: Ints
    into_round: Floats  # seconds, [pass, class]
    turn: float  # seconds: when the first input gradient can start
    place: Floats  # of each copy's microbatches among all, [copy, k]
    microbatches: int  # of all copies
    devices: int  # that the first copy runs on

    @staticmethod
    def of(classes: Classes) -> Keying:
        """Of the classes of a placement."""
        return Keying(
            classes.copy,
            np.minimum(classes.pass_, 3),
            classes.head,
            classes.tail,
            classes.deferrable.astype(float),
            classes.stage_round,
            np.ascontiguousarray(classes.into_round),
            float(classes.round_begins[1].min()) if classes.problem.training else np.inf,
            places(classes.counts),
            sum(classes.counts),
            len(set(classes.placement.device_of[0])),
        )


def places(counts: Sequence[int]) -> Floats:
    """``[copy, k]``: the position of each copy's k-th microbatch among all, the copies interleaved evenly.

    Copies with equally many microbatches have equal positions, so that mirrored copies run alike.
    """
    place = np.zeros((len(counts), max(counts)))
    for copy, count in enumerate(counts):
        place[copy] = (np.arange(max(counts)) + 0.5) * sum(counts) / max(1, count) - 0.5
    return place


@compiled(**COMPILED)
def at_the_end(pass_, tail, keys):  # type: ignore[no-untyped-def]
    """Set the keys of what comes once a step: after all others, what much follows first."""
    latest, longest = -np.inf, 0.0
    for a in range(len(pass_)):
        longest = max(longest, tail[a])
        if pass_[a] < 3:
            for k in range(keys.shape[1]):
                latest = max(latest, keys[a, k])
    for a in range(len(pass_)):
        if pass_[a] == 3:
            keys[a] = latest + (1.0 + longest - tail[a])


@compiled(**COMPILED)
def by_place(  # type: ignore[no-untyped-def]
    keying, size, microbatch, step, turned, forward_pace, forward_depth, later_forward_pace,
    later_forward_depth, backward_pace, backward_depth, later_backward_pace, later_backward_depth, group_forward,
    group_backward, weight_offset, deferrable_offset, critical, jitter, deviates,
):  # fmt: skip
    """The keys of a ``Rule`` (its numbers by their names; seconds), shaped (classes, largest count of microbatches).

    ``size``: microbatches of a group; ``turned``: the offset of backward passes; ``deviates``: of each class, for
    ``jitter``.
    """
    n = len(keying.copy)
    keys = np.empty((n, keying.place.shape[1]))
    for a in range(n):
        copy, pass_, depth = keying.copy[a], keying.pass_[a], keying.head[a]
        every = -critical * keying.tail[a]
        if jitter:
            every += jitter * microbatch * deviates[a]
        wait = weight_offset * step + deferrable_offset * microbatch * keying.deferrable[a] if pass_ > 1 else 0.0
        for k in range(keying.place.shape[1]):
            group = np.floor(keying.place[copy, k] / size)
            within = keying.place[copy, k] - np.ceil(group * size)
            later = group > 0
            if pass_ == 0:
                pace = (later_forward_pace if later else 1.0) * forward_pace * microbatch
                deep = (later_forward_depth if later else 1.0) * forward_depth
                keys[a, k] = pace * within + deep * depth + group_forward * step * group + every
            else:
                pace = (later_backward_pace if later else 1.0) * backward_pace * microbatch
                deep = (later_backward_depth if later else 1.0) * backward_depth * (depth - keying.turn)
                keys[a, k] = turned + pace * within + deep + group_backward * step * group + every + wait
    at_the_end(keying.pass_, keying.tail, keys)
    return keys


@compiled(**COMPILED)
def by_group(  # type: ignore[no-untyped-def]
    keying, some, back, work, stage_rounds, forward_share, fill_pace, fill_depth, turn,
    forward_pace, forward_depth, meeting, backward_pace, backward_depth, drain_pace, drain_depth, weight_offset,
    forward_stride, backward_stride, spacing, deferrable_offset,
):  # fmt: skip
    """The keys of ``MicrobatchGroups`` (its numbers by their names), shaped (classes, largest count of microbatches).

    ``some`` and ``back``: the microbatches of each group, forward and on the way back; ``work``: of the busiest
    resource for a microbatch (seconds); ``stage_rounds``: of the path through the network.
    """
    n, groups, share = len(keying.copy), len(some), work / stage_rounds
    last = groups - 1
    # of each group: what its backward passes and the forward passes of the next take together, when they are due
    together, due, forward_due = np.empty(groups), np.empty(groups), np.empty(groups)
    before = 0.0
    for g in range(groups):
        together[g] = (1.0 - forward_share) * back[g] + forward_share * some[min(g + 1, last)]
        due[g] = turn * keying.turn + spacing * work * before
        before += together[g]
        forward_due[g] = due[g - 1] + meeting * work if g else 0.0
    shape = (2, *keying.place.shape)
    group, within = np.zeros(shape, dtype=np.int64), np.empty(shape)
    for p in range(2):
        sizes = some if p == 0 else back
        for copy in range(shape[1]):
            for k in range(shape[2]):
                g, begun = 0, 0.0
                while g < last and begun + sizes[g] <= keying.place[copy, k]:
                    begun += sizes[g]
                    g += 1
                group[p, copy, k], within[p, copy, k] = g, max(0.0, keying.place[copy, k] - begun)
    longest = keying.head.max() - keying.turn
    # A microbatch passes virtual-stage rounds by equal shares of the group's work; in a round, devices follow by the
    # stride: of forward and backward passes, the length of a round on the shortest way and with the stride.
    rounds = (keying.turn / stage_rounds or 1.0, longest / stage_rounds or 1.0)
    strides = (
        forward_stride * work / stage_rounds * keying.devices,
        backward_stride * work / stage_rounds * keying.devices,
    )
    keys = np.empty((n, keying.place.shape[1]))
    first = np.empty(groups)
    for a in range(n):
        copy, forward = keying.copy[a], keying.pass_[a] == 0
        p = 0 if forward else 1
        done = keying.stage_round[a] if forward else stage_rounds - 1 - keying.stage_round[a]
        along = keying.into_round[p, a] / rounds[p]
        wait = (weight_offset + deferrable_offset * keying.deferrable[a]) * work if keying.pass_[a] > 1 else 0.0
        for g in range(groups):
            whole = (some[0] if g == 0 else together[g - 1]) * work if forward else together[g] * work
            way = done * whole / stage_rounds + along * min(whole / stage_rounds, strides[p])
            if forward:
                first[g] = forward_due[g] + forward_depth * way if g else fill_depth * keying.head[a]
            elif g == last:
                first[g] = due[g] + drain_depth * (keying.head[a] - keying.turn) + wait
            else:
                first[g] = due[g] + backward_depth * way + wait
        for k in range(keying.place.shape[1]):
            g = group[p, copy, k]
            if forward:
                forth = some[0] if g == 0 else together[g - 1]
                pace = fill_pace * share if g == 0 else forward_pace * forth / some[g] * share
            else:
                pace = drain_pace * share if g == last else backward_pace * together[g] / back[g] * share
            keys[a, k] = first[g] + within[p, copy, k] * pace
    at_the_end(keying.pass_, keying.tail, keys)
    return keys
