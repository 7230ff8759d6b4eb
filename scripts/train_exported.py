"""Trains a small model with a schedule that planner has exported, on CPU, and compares it with one process.

    planner export plan.json --to torch-csv -o plan.csv
    torchrun --standalone --nproc-per-node 4 scripts/train_exported.py plan.json plan.csv

One process a rank (as many as the CSV has rows), gloo on CPU, torch 2.13. The model has one transformer block for
every operator of the plan; to run a model of your own, build `stage_module` from its parts. Operators in a variant are
taken for recomputed ones: they keep only their input (torch.utils.checkpoint). Ends with 1 if loss or gradients differ
from those of one process, the executed order from the CSV, or the operators that ran forward again from the partition.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import _PipelineScheduleRuntime as Schedule
from torch.utils.checkpoint import checkpoint

WIDTH, TOKENS, SEQUENCES = 16, 8, 2  # of the model, of a sequence, of a microbatch
TOLERANCE = 1e-12  # relative to the largest gradient; everything is float64


class Block(nn.Module):
    """Attention and MLP with residual connections: the stand-in for one operator of the plan."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)  # the same weights in every process
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.forwards = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.forwards += 1
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        x = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v))
        return x + self.mlp(self.norm2(x))


class Recomputed(nn.Module):
    """A block that keeps its input alone and runs forward again for its gradients."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    @property
    def forwards(self) -> int:
        return self.block.forwards

    def forward(self, x: torch.Tensor) -> Any:
        return checkpoint(self.block, x, use_reentrant=False)


class RecordingStage(PipelineStage):
    """A stage that records what it runs, in the notation of the CSV, and which blocks run forward for a backward."""

    def __init__(self, *args: Any, log: list[str], again: set[nn.Module], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.log, self.again = log, again

    def forward_one_chunk(self, fwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
        self.log.append(f"{self.stage_index}F{fwd_chunk_id}")
        return super().forward_one_chunk(fwd_chunk_id, *args, **kwargs)

    def backward_one_chunk(self, bwd_chunk_id: int, *args: Any, full_backward: bool = True, **kwargs: Any) -> Any:
        self.log.append(f"{self.stage_index}{'B' if full_backward else 'I'}{bwd_chunk_id}")
        with self._noting_forwards():
            return super().backward_one_chunk(bwd_chunk_id, *args, full_backward=full_backward, **kwargs)

    def backward_weight_one_chunk(self, bwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
        self.log.append(f"{self.stage_index}W{bwd_chunk_id}")
        with self._noting_forwards():
            return super().backward_weight_one_chunk(bwd_chunk_id, *args, **kwargs)

    @contextmanager
    def _noting_forwards(self) -> Iterator[None]:
        before = {block: block.forwards for block in self.submod.children()}
        yield
        self.again |= {block for block, forwards in before.items() if block.forwards > forwards}


def stage_module(stage: dict[str, Any], operators: list[str]) -> nn.Module:
    """The part of the model that a stage holds: its operators, one after the other."""
    blocks = ((name, Block(operators.index(name))) for name in stage["operators"])
    recomputed = recomputed_in(stage)
    return nn.Sequential(*(Recomputed(block) if name in recomputed else block for name, block in blocks))


def recomputed_in(stage: dict[str, Any]) -> set[str]:
    """The operators of a stage that are in a variant; the partition of a plan without any names none."""
    return {name for name, variant in stage.get("variants", {}).items() if variant != "base"}


def loss_of(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return nn.functional.mse_loss(output, target)


def batch(step: int, microbatches: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1_000_000 + step)
    shape = (microbatches * SEQUENCES, TOKENS, WIDTH)
    return torch.randn(shape), torch.randn(shape)


class Pipelined:
    """This rank's part of the model, run by torch in the order of the CSV."""

    def __init__(self, csv_file: Path, partition: dict[str, Any], operators: list[str]) -> None:
        rank = dist.get_rank()
        self.log: list[str] = []
        self.again: set[nn.Module] = set()  # blocks that ran forward again
        self.microbatches: int = partition["microbatches"]
        every = partition["stages"]
        self.here = [stage for stage in every if stage["rank"] == rank]
        self.modules = [stage_module(stage, operators) for stage in self.here]
        self.stages = [
            RecordingStage(module, stage["stage"], len(every), torch.device("cpu"), log=self.log, again=self.again)
            for stage, module in zip(self.here, self.modules, strict=True)
        ]
        self.schedule = Schedule(self.stages, n_microbatches=self.microbatches, loss_fn=loss_of)
        self.schedule._load_csv(str(csv_file), format="compute_only")

    def step(self, x: torch.Tensor, y: torch.Tensor) -> float | None:
        """Forward and backward of one batch; the loss on the rank of the last stage."""
        losses: list[torch.Tensor] = []
        last = any(stage.is_last for stage in self.stages)
        inputs = (x,) if any(stage.is_first for stage in self.stages) else ()
        self.schedule.step(*inputs, target=y if last else None, losses=losses if last else None)
        return torch.stack(losses).mean().item() if last else None

    def recomputes_as_told(self) -> bool:
        """Whether those operators ran forward again that the partition has in a variant."""
        again = {name for name, block in self._blocks() if block in self.again}
        return again == set().union(*map(recomputed_in, self.here))

    def gradients(self) -> dict[str, list[torch.Tensor]]:
        """By operator."""
        return {name: [p.grad.clone() for p in block.parameters()] for name, block in self._blocks()}

    def _blocks(self) -> Iterator[tuple[str, Any]]:
        for stage, module in zip(self.here, self.modules, strict=True):
            yield from zip(stage["operators"], module.children(), strict=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="PLAN CSV", help="a plan.json and its export; or more")
    parser.add_argument("--steps", type=int, default=3, help="training steps (default 3)")
    asked = parser.parse_args()
    if len(asked.files) % 2:
        parser.error("every plan comes with its CSV")
    return asked


def main() -> int:
    """Train with every schedule given; 1 if one differs from a single process."""
    asked = arguments()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    plans = zip(asked.files[::2], asked.files[1::2], strict=True)
    equal = [trained(plan, csv_file, asked.steps) for plan, csv_file in plans]
    dist.destroy_process_group()
    return 0 if all(equal) else 1


def trained(plan: Path, csv_file: Path, steps: int) -> bool:
    """Train, and compare every step with a single process that holds the whole model; rank 0 prints a line a step."""
    rows = list(csv.reader(csv_file.open(newline="")))
    partition = json.loads(Path(f"{csv_file}.partition.json").read_text())
    operators = list(dict.fromkeys(row["operator"] for row in json.loads(plan.read_text())["placement"]))
    rank, world = dist.get_rank(), dist.get_world_size()
    if world != len(rows):
        sys.exit(f"{csv_file} is for {len(rows)} processes: torchrun --standalone --nproc-per-node {len(rows)} ...")
    pipelined = Pipelined(csv_file, partition, operators)
    order = [operators.index(name) for stage in partition["stages"] for name in stage["operators"]]
    whole = nn.ModuleDict({str(k): Block(k) for k in order})
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (*pipelined.modules, whole)]
    equal = True
    for step in range(steps):
        x, y = batch(step, pipelined.microbatches)
        for optimizer in optimizers:
            optimizer.zero_grad()
        pipelined.log.clear()
        pipelined.again.clear()
        loss = pipelined.step(x, y)
        expected = loss_of(nn.Sequential(*whole.values())(x), y)
        expected.backward()
        everyone: list[Any] = [None] * world
        as_told = pipelined.log == rows[rank], pipelined.recomputes_as_told()
        dist.all_gather_object(everyone, (loss, pipelined.gradients(), *as_told))
        report = compared(everyone, expected.item(), whole, operators)
        equal &= report["equal"]
        if rank == 0:
            print(json.dumps({"csv": str(csv_file), "step": step, **report}), flush=True)
        for optimizer in optimizers:
            optimizer.step()
    return equal


def compared(everyone: list[Any], expected: float, whole: nn.ModuleDict, operators: list[str]) -> dict[str, Any]:
    """Loss, largest error of a gradient, and whether each rank ran its row of the CSV and recomputed what it should."""
    loss = next(loss for loss, *_ in everyone if loss is not None)
    gradients = {name: tensors for _, part, *_ in everyone for name, tensors in part.items()}
    largest = error = 0.0
    for key, block in whole.items():
        for ours, p in zip(gradients.pop(operators[int(key)]), block.parameters(), strict=True):
            largest = max(largest, float(p.grad.abs().max()))
            error = max(error, float((ours - p.grad).abs().max()))
    in_order = all(same for *_, same, _ in everyone)
    recomputed = all(same for *_, same in everyone)
    close = abs(loss - expected) <= TOLERANCE * abs(expected) and error <= TOLERANCE * largest and not gradients
    return {
        "loss": loss,
        "loss_of_one_process": expected,
        "largest_gradient": largest,
        "largest_gradient_error": error,
        "order_is_that_of_the_csv": in_order,
        "recomputed_as_the_partition_says": recomputed,
        "equal": close and in_order and recomputed,
    }


if __name__ == "__main__":
    sys.exit(main())
