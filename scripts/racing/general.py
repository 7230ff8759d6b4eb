"""General problems for the race, drawn from seeds or written by hand: no layout, rivals choose everything.

Times are whole seconds, sizes whole bytes, and a byte takes a second to send.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

LITTLE = "general: 2 to 5 operators"
JOINED = "general: branches, mixed devices"
MIDDLE = "general: 5 to 9 operators"
EQUAL = "general: small pipelines"
GROUPS = (LITTLE, JOINED, MIDDLE, EQUAL)
TASKS_AT_MOST = 160


@dataclass(frozen=True)
class General:
    """A name, a group, the two files and the copies."""

    name: str
    group: str
    graph: str
    cluster: str
    copies: int = 1


@dataclass(frozen=True)
class Sizes:
    """The least and the most of each."""

    operators: tuple[int, int]
    devices: tuple[int, int]
    microbatches: tuple[int, int]
    copies: tuple[int, int] = (1, 1)
    mixed: float = 0.35  # the chance of devices of two types


def graph(name: str, mode: str, microbatches: int, operators: list[str]) -> str:
    """graph.yaml of operators in YAML's flow style."""
    lines = "".join(f"  - {{{operator}}}\n" for operator in operators)
    return f"schema: planner/graph@1\nname: {name}\nmode: {mode}\nmicrobatches: {microbatches}\noperators:\n{lines}"


def cluster(name: str, types: list[str], memory: int | None, latency: int | None, exclusive: bool = False) -> str:
    """cluster.yaml of a device for each of ``types``; ``latency``: None where transfers take no time."""
    room = [] if memory is None else [f"memory: {memory}"]
    kind = "{" + ", ".join([*room, *["transfers: exclusive"] * exclusive]) + "}"
    known = "".join(f"  {each}: {kind}\n" for each in sorted(set(types)))
    devices = "".join(
        f"  - {{name: {each}, type: {each}, count: {types.count(each)}}}\n" for each in sorted(set(types))
    )
    text = f"schema: planner/cluster@1\nname: {name}-devices\ndevice_types:\n{known}devices:\n{devices}"
    return text if latency is None else f"{text}network:\n  within_node: {{bandwidth: 1 B/s, latency: {latency}}}\n"


def drawn(name: str, group: str, seed: int, sizes: Sizes) -> General:
    """A problem with some of everything: memory, transfers, both streams, mixed devices, exclusive transfers."""
    r = random.Random(f"{group} {seed}")
    while True:
        n, devices, microbatches = (r.randint(*each) for each in (sizes.operators, sizes.devices, sizes.microbatches))
        training = r.random() < 0.6
        types = ["fast"] * devices
        if r.random() < sizes.mixed:
            types[1:] = ["slow", *(r.choice(("fast", "slow")) for _ in types[2:])]
        operators, tasks, held = [], 0, 0
        for i in range(n):
            passes = ["forward", "input_grad", "weight_grad"][: r.choice((2, 3, 3)) if training else 1]
            activation, parameters = r.choice((0, 1, 1, 2, 3)), r.choice((0, 0, 1, 2))
            tasks, held = tasks + len(passes) * microbatches, held + activation + parameters
            operators.append(_operator(r, i, passes, sorted(set(types)), activation, parameters))
        if tasks <= TASKS_AT_MOST:
            break
    memory = max(1, round(held / devices * r.choice((1, 1.3, 2, 3)))) if r.random() < 0.7 else None
    latency = r.choice((0, 0, 1)) if r.random() < 0.6 else None
    exclusive = latency is not None and r.random() < 0.3
    mode = "training" if training else "inference"
    files = graph(name, mode, microbatches, operators), cluster(name, types, memory, latency, exclusive)
    return General(name, group, *files, r.randint(*sizes.copies))


def _operator(r: random.Random, i: int, passes: list[str], types: list[str], activation: int, parameters: int) -> str:
    times = []
    for each in passes:
        by_type = [f"{kind}: {r.randint(1, 5)}" for kind in types]
        times.append(f"{each}: {{{', '.join(by_type)}}}" if r.random() < 0.7 else f"{each}: {r.randint(1, 5)}")
    if len(passes) == 2:
        times.append("weight_grad: null")
    inputs = [f"o{j}" for j in range(i) if r.random() < (0.8 if j == i - 1 else 0.2)]
    words = [f"name: o{i}", f"time: {{{', '.join(times)}}}", f"inputs: [{', '.join(inputs)}]"]
    words += [f"activation: {activation}", f"parameters: {parameters}", f"output: {r.choice((0, 1, 2))}"]
    words += [f"held_for_weight_grad: {r.randint(0, activation)}"] if activation else []
    words += ["stream: comm"] if r.random() < 0.2 else []
    return ", ".join(words)


def equal(name: str, seed: int) -> General:
    """A pipeline of equal stages; memory for one activation a stage, for more, or without limit."""
    r = random.Random(f"{EQUAL} {seed}")
    n, devices, microbatches = r.randint(2, 12), r.randint(2, 4), r.randint(3, 8)
    forward, backward, last = r.choice(((1, 1, 1), (1, 1, 1), (1, 2, 1), (2, 3, 1)))
    room = (1, 2, 3, None)[seed % 4]
    time = f"time: {{forward: {forward}, input_grad: {backward}, weight_grad: {last}}}, activation: 1"
    stages = [f"name: stage{k}, {time}" + f", inputs: [stage{k - 1}]" * bool(k) for k in range(n)]
    memory = None if room is None else -(-n // devices) * room
    latency = r.choice((None, None, 1))
    files = graph(name, "training", microbatches, stages), cluster(name, ["fast"] * devices, memory, latency)
    return General(name, EQUAL, *files)


def diamond() -> General:
    """Two unequal branches between an operator that both read and one that reads both; forward passes only."""
    operators = [
        "name: stem, time: {forward: 2}, activation: 1, output: 1",
        "name: left0, time: {forward: 3}, activation: 1, output: 1, inputs: [stem]",
        "name: left1, time: {forward: 2}, activation: 1, output: 1, inputs: [left0]",
        "name: right0, time: {forward: 1}, activation: 2, output: 1, inputs: [stem]",
        "name: right1, time: {forward: 4}, activation: 1, output: 1, inputs: [right0]",
        "name: join, time: {forward: 3}, activation: 1, inputs: [left1, right1]",
    ]
    return General(
        "diamond", JOINED, graph("diamond", "inference", 5, operators), cluster("diamond", ["gpu"] * 3, 8, 0)
    )


def encoders() -> General:
    """Two encoders, a trunk that reads both, two heads; memory for a few activations."""
    cost = "activation: 2, held_for_weight_grad: 1, parameters: 1, output: 1"
    reads = {"image": [], "text": [], "trunk0": ["image", "text"], "trunk1": ["trunk0"]}
    reads |= {"caption": ["trunk1"], "score": ["trunk1"]}
    seconds = {"image": 3, "text": 2, "trunk0": 3, "trunk1": 3, "caption": 2, "score": 1}
    operators = [
        f"name: {name}, time: {{forward: {seconds[name]}}}, {cost}, inputs: [{', '.join(inputs)}]"
        for name, inputs in reads.items()
    ]
    files = graph("encoders-heads", "training", 4, operators), cluster("encoders-heads", ["gpu"] * 3, 10, 0)
    return General("encoders-heads", JOINED, *files)


def general() -> Iterator[General]:
    """All of them."""
    for seed in range(1, 11):
        yield drawn(f"little-{seed}", LITTLE, seed, Sizes((2, 5), (2, 3), (2, 3), (1, 2)))
    yield diamond()
    yield encoders()
    for seed in range(1, 5):
        yield drawn(f"mixed-{seed}", JOINED, seed, Sizes((3, 6), (2, 3), (4, 6), mixed=1.0))
    for seed in range(1, 11):
        yield drawn(f"middle-{seed}", MIDDLE, seed, Sizes((5, 9), (2, 4), (3, 8)))
    for seed in range(1, 11):
        yield equal(f"equal-{seed}", seed)
