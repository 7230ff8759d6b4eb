"""Rule 6: the step in tokens, computed anew from the makespan, the graph's origin and the cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator

from planner.verification.facts import DURATION, Facts, Violation
from planner.verification.figures import close, wrong
from planner.verification.rules import Rule
from planner.verification.work import Work


def check_throughput(facts: Facts, work: Work) -> Iterator[Violation]:
    """Yield what is wrong with the throughput that the plan states; it need not state one."""
    found, origin = facts.plan.throughput, facts.graph.made_from
    if found is None:
        return
    if origin is None or origin.sequence is None or work.makespan <= 0:
        why = "the step takes no time" if origin and origin.sequence else "the graph does not say the tokens of a step"
        yield Violation(Rule.FIGURES, f"throughput is stated, but {why}")
        return
    gpus = origin.tensor * origin.context * origin.data * len(facts.devices)
    sequences = work.microbatches * origin.data * origin.micro_batch
    rate = sequences * origin.sequence / work.makespan
    peaks = [device.type.peak_flops for device in facts.devices.values()]
    peak = mfu = None
    if None not in peaks:
        peak = math.fsum(each or 0.0 for each in peaks) * gpus / len(peaks)
    if peak and origin.flops_per_token is not None:
        mfu = rate * origin.flops_per_token / peak
    for name, stated, expected in (
        ("gpus", found.gpus, gpus),
        ("sequences", found.sequences, sequences),
        ("tokens", found.tokens, sequences * origin.sequence),
        ("tokens_per_second", found.tokens_per_second, rate),
        ("tokens_per_second_per_gpu", found.tokens_per_second_per_gpu, rate / gpus),
        ("peak_flops", found.peak_flops, peak),
        ("mfu", found.mfu, mfu),
    ):
        agree = stated is None if expected is None else close(stated, expected, DURATION * expected)
        if not agree:
            yield wrong(f"throughput.{name}", stated, expected)
