"""Classes as flat arrays, for compiled code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.common.ragged import compressed, rows
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
    res_ptr, res = rows(classes.resources)
    pred_ptr, pred = rows(classes.preds)
    rel_ptr, rel = rows([hold.releases for hold in holds])
    users, waiting = (np.repeat(np.arange(n), np.diff(ptr)) for ptr in (res_ptr, pred_ptr))
    releasing = np.repeat(np.arange(len(holds)), np.diff(rel_ptr))
    hold_device = np.array([hold.device for hold in holds], dtype=np.int64)
    hold_alloc = np.array([hold.alloc for hold in holds], dtype=np.int64)
    cand_ptr, cand = compressed(res, users, classes.n_resources)
    succ_ptr, succ = compressed(pred, waiting, n)
    relof_ptr, relof = compressed(rel, releasing, n)
    alloc_ptr, alloc = compressed(hold_alloc, np.arange(len(holds)), n)
    devhold_ptr, devhold = compressed(hold_device, np.arange(len(holds)), n_devices)
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
        hold_device=hold_device,
        hold_size=np.array([hold.size for hold in holds], dtype=float),
        hold_alloc=hold_alloc,
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
        pred_more=classes.count[pred] - classes.count[waiting],
        succ_fewer=np.repeat(classes.count, np.diff(succ_ptr)) - classes.count[succ],
    )
