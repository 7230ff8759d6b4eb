"""Tokens a second and model FLOP utilization (MFU) of a step.

MFU is that of PaLM (Chowdhery et al., arXiv 2204.02311, appendix B): the tokens a second that were reached, over those
that the GPUs would reach at their peak if they did the FLOP of the model only. What a step computes again
(recomputation) does not count, nor does what ranks compute more than once.
"""

from __future__ import annotations

import math

from planner.plan.rows import Throughput
from planner.problem.cluster import Cluster
from planner.problem.made_from import MadeFrom


def throughput_of(
    made_from: MadeFrom | None, cluster: Cluster, microbatches: int, makespan: float
) -> Throughput | None:
    """The throughput of a step of ``makespan`` seconds; None where its tokens are not known, or where it takes no time.

    A device of the cluster stands for ``made_from.ranks`` GPUs, all of the peak that the cluster states for it. The
    devices that run nothing count, too: their GPUs are there.
    """
    tokens = None if made_from is None else made_from.tokens(microbatches)
    if made_from is None or tokens is None or makespan <= 0:
        return None
    gpus = len(cluster.devices) * made_from.ranks
    peaks = [device.type.peak_flops for device in cluster.devices]
    known = [peak for peak in peaks if peak is not None]
    peak = made_from.ranks * math.fsum(known) if len(known) == len(peaks) else None
    flops = made_from.flops_per_token
    return Throughput(
        gpus=gpus,
        sequences=made_from.sequences(microbatches),
        tokens=tokens,
        tokens_per_second=tokens / makespan,
        tokens_per_second_per_gpu=tokens / makespan / gpus,
        peak_flops=peak,
        mfu=None if flops is None or not peak else flops * tokens / makespan / peak,
    )
