"""Classes as flat arrays, for compiled code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.common.ragged import rows
from planner.scheduling.classes import Classes, Floats, Ints


@dataclass(frozen=True)
class Arrays:
    """Classes as flat arrays (compressed rows: ``xs[x_ptr[a]:x_ptr[a + 1]]``), in the kernel's argument order."""

    count: Ints
    ticks: Floats
    tail: Floats
    copy: Ints
    res_ptr: Ints
    res: Ints
    cand_ptr: Ints
    cand: Ints
    pred_ptr: Ints
    pred: Ints
    succ_ptr: Ints
    succ: Ints
    hold_device: Ints
    hold_size: Floats
    hold_alloc: Ints
    rel_ptr: Ints
    rel: Ints
    relof_ptr: Ints
    relof: Ints
    alloc_ptr: Ints
    alloc: Ints
    devhold_ptr: Ints
    devhold: Ints
    available: Floats
    need: Floats
    copy_count: Ints
    computing: Floats  # what a tick adds to the mean busy time of devices that compute
    pred_more: Ints  # of an entry of ``pred``: how many tasks it has more than the class
    succ_fewer: Ints  # of an entry of ``succ``: how many tasks it has fewer than the class

    def arguments(self) -> tuple[Any, ...]:
        """The fields, in order, for the kernel."""
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)


def flatten(classes: Classes, need: Floats) -> Arrays:
    """The kernel's arrays; ``need[c, d]`` is the most bytes a microbatch of copy c holds on device d."""
    n, n_devices, holds = classes.n, classes.problem.n_devices, classes.holds
    candidates: list[list[int]] = [[] for _ in range(classes.n_resources)]
    for a in range(n):
        for r in classes.resources[a]:
            candidates[r].append(a)
    released_by: list[list[int]] = [[] for _ in range(n)]
    allocated_by: list[list[int]] = [[] for _ in range(n)]
    on_device: list[list[int]] = [[] for _ in range(n_devices)]
    for h, hold in enumerate(holds):
        allocated_by[hold.alloc].append(h)
        on_device[hold.device].append(h)
        for a in hold.releases:
            released_by[a].append(h)
    res_ptr, res = rows(classes.resources)
    cand_ptr, cand = rows(candidates)
    pred_ptr, pred = rows(classes.preds)
    succ_ptr, succ = rows(classes.succs)
    rel_ptr, rel = rows(tuple(h.releases for h in holds))
    relof_ptr, relof = rows(released_by)
    alloc_ptr, alloc = rows(allocated_by)
    devhold_ptr, devhold = rows(on_device)
    return Arrays(
        count=classes.count,
        ticks=classes.ticks,
        tail=np.rint(classes.tail / classes.tick),
        copy=classes.copy,
        res_ptr=res_ptr,
        res=res,
        cand_ptr=cand_ptr,
        cand=cand,
        pred_ptr=pred_ptr,
        pred=pred,
        succ_ptr=succ_ptr,
        succ=succ,
        hold_device=np.array([h.device for h in holds], dtype=np.int64),
        hold_size=np.array([h.size for h in holds], dtype=float),
        hold_alloc=np.array([h.alloc for h in holds], dtype=np.int64),
        rel_ptr=rel_ptr,
        rel=rel,
        relof_ptr=relof_ptr,
        relof=relof,
        alloc_ptr=alloc_ptr,
        alloc=alloc,
        devhold_ptr=devhold_ptr,
        devhold=devhold,
        available=np.ascontiguousarray(classes.available),
        need=np.ascontiguousarray(need),
        copy_count=np.array(classes.counts, dtype=np.int64),
        computing=classes.computes / max(1, len(set(classes.device[classes.computes].tolist()))),
        pred_more=classes.count[pred] - np.repeat(classes.count, np.diff(pred_ptr)),
        succ_fewer=np.repeat(classes.count, np.diff(succ_ptr)) - classes.count[succ],
    )
