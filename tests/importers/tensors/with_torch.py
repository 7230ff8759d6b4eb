"""``planner import torch`` on programs exported here. Needs torch: .ci/run calls this file on its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from planner.commands.app import main
from planner.files import read_cluster, read_graph
from planner.objectives.baseline import baseline_plan
from planner.problem import Graph, Operator, Pass, Problem, Work

CLUSTER = Path(__file__).resolve().parents[3] / "configs" / "clusters" / "h100-8.yaml"
WIDTH, HEADS, LAYERS, WORDS, TOKENS = 64, 4, 3, 100, 16


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Any) -> Any:
        batch, tokens, width = x.shape
        heads = self.qkv(self.norm1(x)).view(batch, tokens, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*heads.unbind())
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.layers = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)
        self.register_buffer("positions", torch.zeros(32, WIDTH))

    def forward(self, ids: Any) -> Any:
        x = self.embed(ids) + self.positions[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


class Pictures(nn.Module):
    """Convolutions both ways, a batched product, a product with a vector added, a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 8, 3, stride=2, groups=1), nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.recurrent = nn.LSTM(20, 12, batch_first=True)
        self.weight, self.bias = nn.Parameter(torch.zeros(12, 5)), nn.Parameter(torch.zeros(5))

    def forward(self, x: Any) -> Any:
        x = self.up(functional.relu(self.down(x)))
        x = torch.bmm(x.flatten(2), x.flatten(2).transpose(1, 2)).reshape(x.shape[0], -1)
        x, _ = self.recurrent(functional.pad(x, (0, 20 - x.shape[1])).unsqueeze(1))
        return torch.addmm(self.bias, x[:, 0], self.weight)


class Chooses(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))


IDS = torch.zeros(2, TOKENS, dtype=torch.long)
IMAGE = torch.zeros(2, 3, 11, 11)


def save(model: nn.Module, example: Any, folder: Path, dynamic: Any = None) -> Path:
    path = folder / "program.pt2"
    torch.export.save(torch.export.export(model, (example,), dynamic_shapes=dynamic), str(path))
    return path


def run(path: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    code = main(["import", "torch", str(path), "-o", str(path.with_suffix(".yaml")), *flags])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def graph_of(path: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> Graph:
    code, err = run(path, capsys, *flags)
    assert code == 0, err
    return read_graph(path.with_suffix(".yaml"))


def flops(operator: Operator, which: Pass = Pass.F) -> float:
    cost = operator.times[which]
    assert isinstance(cost, Work)
    return cost.flops


def counted(model: nn.Module, example: Any) -> int:
    """torch's own count of a forward pass; it knows attention by its two products, not the CPU's fused kernel."""
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(example)
    return counter.get_total_flops()


def test_flops_and_weights_are_those_that_torch_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SGD in FP32: 8 bytes a weight, 4 an element of the buffer."""
    model = Language()
    graph = graph_of(save(model, IDS, tmp_path), capsys, "--optimizer", "sgd")
    assert sum(flops(operator) for operator in graph.operators) == counted(model, IDS)
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert sum(operator.parameters for operator in graph.operators) == 8 * weights + 4 * 32 * WIDTH


def test_flops_of_convolutions_products_and_recurrent_layers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Pictures()
    graph = graph_of(save(model, IMAGE, tmp_path), capsys)
    # torch's counter sees no LSTM on the CPU: four gates of 20 + 12 inputs, one step, batch of 2.
    recurrent = 2 * 2 * 4 * 12 * (20 + 12)
    assert sum(flops(operator) for operator in graph.operators) == counted(model, IMAGE) + recurrent
    assert flops(next(o for o in graph.operators if "recurrent" in o.name)) == recurrent


def test_operators_have_the_names_of_modules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = graph_of(save(Language(), IDS, tmp_path), capsys)
    names = ["qkv", "scaled_dot_product_attention", "out", "up", "down"]
    layers = [f"layers.{i}.{name}" for i in range(LAYERS) for name in names]
    assert [operator.name for operator in graph.operators] == ["embed", *layers, "head"]
    by_name = {operator.name: operator for operator in graph.operators}
    assert by_name["layers.1.out"].inputs == ("layers.1.scaled_dot_product_attention", "layers.0.down")
    attention = by_name["layers.0.scaled_dot_product_attention"]
    assert Pass.W not in attention.times
    assert flops(attention, Pass.I) == 2 * flops(attention)
    up = by_name["layers.0.up"]
    assert flops(up) == flops(up, Pass.I) == flops(up, Pass.W) == 2 * 2 * TOKENS * WIDTH * 4 * WIDTH


def test_levels_are_modules_and_schedule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = graph_of(save(Language(), IDS, tmp_path), capsys, "--level", "2", "--microbatches", "8")
    assert [operator.name for operator in graph.operators] == [
        *("embed", "layers.0", "layers.1", "layers.2", "norm", "head")
    ]
    assert graph.operators[1].output == 2 * TOKENS * WIDTH * 4
    problem = Problem(graph, read_cluster(CLUSTER), 8)
    assert baseline_plan("1f1b", problem).makespan > 0


@pytest.mark.parametrize("stages", [2, 4])
def test_stages_end_between_layers(stages: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five operators a layer stay together, and there are still as many stages as devices."""
    graph = graph_of(save(Language(), IDS, tmp_path), capsys, "--cut", "layer")
    assert [operator.colocate for operator in graph.operators] == [
        *(None, *(f"layers.{i}" for i in range(LAYERS) for _ in range(5)), None)
    ]
    cluster = read_cluster(CLUSTER)
    few = replace(cluster, devices=cluster.devices[:stages])
    plan = baseline_plan("1f1b", Problem(graph, few, 8))
    hosts = {(graph.operators[graph.index[p.operator]].colocate or p.operator): p.device for p in plan.placement}
    assert len(hosts) == LAYERS + 2
    assert all(
        hosts[graph.operators[graph.index[p.operator]].colocate or p.operator] == p.device for p in plan.placement
    )
    assert len(set(hosts.values())) == stages


class Parts(nn.Module):
    """Two layers that run twice, each with an attention of two products and a feed-forward part in a Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "attention": nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)),
                    "mlp": nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH)),
                }
            )
            for _ in range(2)
        )

    def forward(self, x: Any) -> Any:
        for _ in range(2):
            for layer in self.layers:
                x = x + layer["mlp"](layer["attention"](x))
        return x


@pytest.mark.parametrize("stages", [2, 4])
def test_stages_end_between_parts(stages: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = graph_of(save(Parts(), torch.zeros(2, WIDTH), tmp_path), capsys, "--cut", "part")
    once = [f"layers.{i}.{part}" for i in range(2) for part in ("attention", "mlp")]
    expected = [label for again in ("", "_2") for name in once for label in [name + again] * 2]
    assert [operator.colocate for operator in graph.operators] == expected
    cluster = read_cluster(CLUSTER)
    few = replace(cluster, devices=cluster.devices[:stages])
    plan = baseline_plan("1f1b", Problem(graph, few, 8))
    assert len({placed.device for placed in plan.placement}) == stages


def test_inference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = graph_of(save(Language(), IDS, tmp_path), capsys, "--mode", "inference")
    weights = sum(parameter.numel() for parameter in Language().parameters())
    assert sum(operator.parameters for operator in graph.operators) == 4 * (weights + 32 * WIDTH)
    assert all(operator.times.keys() == {Pass.F} for operator in graph.operators)


def test_dynamic_dimensions_are_those_of_the_example_or_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(Language(), IDS, tmp_path, {"ids": {0: torch.export.Dim("batch")}})
    example = sum(flops(operator) for operator in graph_of(path, capsys).operators)
    assert example == counted(Language(), IDS)
    text = path.with_suffix(".yaml").read_text(encoding="utf-8")
    name = text.split("Dynamic sizes: ")[1].split(" = ")[0]
    larger = sum(flops(operator) for operator in graph_of(path, capsys, "--dim", f"{name}=6").operators)
    assert larger == 3 * example
    code, err = run(path, capsys, "--dim", "other=6")
    assert code == 2
    assert f"there are {name}" in err


def test_graphs_inside_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = run(save(Chooses(), torch.zeros(3), tmp_path), capsys)
    assert code == 2
    assert "calls 'cond', whose graph inside cannot be counted" in err


@pytest.mark.parametrize("content", [b"", b"no program", bytes(range(256))])
def test_files_that_are_no_programs(content: bytes, tmp_path: Path) -> None:
    """One line: none of the tracebacks that torch logs of what it has tried."""
    path = tmp_path / "program.pt2"
    path.write_bytes(content)
    command = [sys.executable, "-m", "planner", "import", "torch"]
    run = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"planner: {path}: torch {torch.__version__} cannot load it")
    assert len(run.stderr.splitlines()) == 1


def test_a_state_dict_is_no_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "program.pt2"
    torch.save(Language().state_dict(), str(path))
    code, err = run(path, capsys)
    assert code == 2
    assert "cannot load it" in err
