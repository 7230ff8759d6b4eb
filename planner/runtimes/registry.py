"""The runtimes by name. A new one is a module with a ``RUNTIME`` and an entry here."""

from __future__ import annotations

from collections.abc import Mapping

from planner.runtimes import any as any_
from planner.runtimes import dualpipe, fsdp, megatron, megatron_deepspeed, nanotron, torch, torchtitan
from planner.runtimes.runtime import Runtime

RUNTIMES: Mapping[str, Runtime] = {
    module.RUNTIME.name: module.RUNTIME
    for module in (any_, megatron, torchtitan, torch, dualpipe, megatron_deepspeed, nanotron, fsdp)
}
"""In the order in which help lists them."""
