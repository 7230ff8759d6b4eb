"""Unit pipelines: DualPipe's own setting."""

from __future__ import annotations

from configurations.text import Config, header


def dualpipe(devices: int, microbatches: int, optimum: int, published: int) -> Config:
    """Uniform stages, one unit a pass, free transfers, DualPipe's memory."""
    name = f"dualpipe-{devices}x{microbatches}"
    in_flight = devices + 1
    stages = "".join(
        f"  - {{name: stage{s}, time: {{forward: 1, input_grad: 1, weight_grad: 1}}, "
        "parameters: 1, activation: 1" + (f", inputs: [stage{s - 1}]}}\n" if s else "}\n")
        for s in range(devices)
    )
    graph = (
        header(
            name,
            "--copies 2 --layout bidirectional",
            f"""
DualPipe's setting in units: {devices} stages, {microbatches} microbatches, F = I = W = 1 s, free transfers.

Memory in units of one stage: its parameters are 1, what a microbatch leaves there is 1, held until W ends.
A device has room for 2 copies of a stage and {in_flight} activations, which is what DualPipe uses (2x
parameters, PP + 1 activations: the table of github.com/deepseek-ai/DualPipe).

DualPipe takes {published} s with its fused blocks. {optimum} s is optimal with two copies: a device in the
middle cannot start before {devices // 2 - 1} s and has {3 * microbatches} s of work.
""",
        )
        + "schema: planner/graph@1\n"
        + f"name: {name}\nmicrobatches: {microbatches}\noperators:\n{stages}"
    )
    cluster = (
        f"# {devices} equal devices, transfers free. memory: 2 copies of a stage + {in_flight} activations.\n"
        "schema: planner/cluster@1\n"
        f"name: unit-x{devices}\n"
        "device_types:\n"
        f"  unit: {{memory: {2 + in_flight}}}\n"
        "devices:\n"
        f"  - {{name: gpu, type: unit, count: {devices}}}\n"
    )
    return Config(name, graph, cluster)


def configs() -> list[Config]:
    """The two sizes that DualPipe's optimum is shown on."""
    return [dualpipe(8, 20, optimum=63, published=66), dualpipe(4, 8, optimum=25, published=26)]
