"""Job shops: problems in which only the choice of devices and the order on their streams are open."""

from __future__ import annotations

import numpy as np

from planner.problem.problem import Problem


def is_job_shop(problem: Problem) -> bool:
    """Whether a problem is a job shop, with or without a choice of devices.

    That is: one microbatch, forward passes only, free transfers, no caps, no groups and no prescribed layout.
    """
    return (
        not problem.training
        and problem.microbatches == 1
        and problem.copies == 1
        and problem.layout == "auto"
        and len(problem.groups) == problem.n_operators
        and not np.isfinite(problem.cap).any()
        and problem.transfers_are_free
    )
