"""Job shops of the literature."""

from __future__ import annotations

from configurations.text import Config, header

Job = list[list[tuple[int, int]]]  # operations, each with its (machine, seconds) alternatives

# Fisher and Thompson 1963, as in github.com/tamy0612/JSPLIB (instances/ft06).
FT06: list[list[tuple[int, int]]] = [
    [(2, 1), (0, 3), (1, 6), (3, 7), (5, 3), (4, 6)],
    [(1, 8), (2, 5), (4, 10), (5, 10), (0, 10), (3, 4)],
    [(2, 5), (3, 4), (5, 8), (0, 9), (1, 1), (4, 7)],
    [(1, 5), (0, 5), (2, 5), (3, 3), (4, 8), (5, 9)],
    [(2, 9), (1, 3), (4, 5), (5, 4), (0, 3), (3, 1)],
    [(1, 3), (3, 3), (5, 9), (0, 10), (4, 4), (2, 1)],
]

# Fattahi, Saidi Mehrabad and Jolai 2007, as in github.com/SchedulingLab/fjsp-instances (MIT).
SFJS05: list[Job] = [
    [[(0, 43), (1, 36)], [(0, 64), (1, 71)]],
    [[(0, 34), (1, 53)], [(0, 36), (1, 21)]],
    [[(0, 21), (1, 35)], [(0, 43), (1, 37)]],
]
MFJS01: list[Job] = [
    [[(0, 147), (1, 123), (2, 145)], [(3, 140), (1, 130)], [(3, 150), (4, 160)]],
    [[(0, 214), (2, 150)], [(2, 87), (1, 66)], [(4, 178), (5, 95)]],
    [[(0, 87), (1, 62)], [(2, 180), (3, 105)], [(3, 190), (4, 100), (5, 153)]],
    [[(0, 87), (1, 65)], [(4, 173)], [(3, 145), (5, 136)]],
    [[(1, 123), (2, 145), (0, 128)], [(2, 86), (3, 65), (4, 47)], [(4, 110), (5, 85)]],
]


def jobshop(name: str, jobs: list[Job], machines: int, optimum: int, source: str) -> Config:
    """A (flexible) job shop: one chain a job, forward passes only, one microbatch."""
    lines = []
    for j, job in enumerate(jobs):
        for o, alternatives in enumerate(job):
            seconds = ", ".join(f"m{machine}: {duration}" for machine, duration in sorted(alternatives))
            reads = f", inputs: [job{j}_op{o - 1}]" if o else ""
            lines.append(f"  - {{name: job{j}_op{o}, time: {{forward: {{{seconds}}}}}{reads}}}\n")
    flexible = any(len(alternatives) > 1 for job in jobs for alternatives in job)
    kind = "flexible job shop" if flexible else "job shop"
    graph = (
        header(
            f"jobshop-{name}",
            "",
            f"""
The {kind} {name}: {len(jobs)} jobs on {machines} machines, {len(lines)} operations. Optimal makespan
{optimum} s. A machine is a device, an operation an operator in inference mode; a machine that `time` leaves
out cannot run it.

Source: {source}
""",
        )
        + f"schema: planner/graph@1\nname: {name}\nmode: inference\nmicrobatches: 1\noperators:\n"
        + "".join(lines)
    )
    cluster = (
        f"# The {machines} machines of {name}: no memory caps, free transfers.\n"
        "schema: planner/cluster@1\n"
        f"name: {name}-machines\n"
        "device_types:\n  machine: {}\n"
        f"devices:\n  - {{name: m, type: machine, count: {machines}}}\n"
    )
    return Config(f"jobshop-{name}", graph, cluster)


def configs() -> list[Config]:
    """A plain job shop and two flexible ones, all with known optima."""
    lab = "github.com/SchedulingLab/fjsp-instances"
    jsplib = "Fisher and Thompson 1963; github.com/tamy0612/JSPLIB instances/ft06."
    return [
        jobshop("ft06", [[[step] for step in job] for job in FT06], 6, 55, jsplib),
        jobshop("sfjs05", SFJS05, 2, 119, f"Fattahi, Saidi Mehrabad and Jolai 2007; {lab} fattahi/sfjs05."),
        jobshop("mfjs01", MFJS01, 6, 468, f"Fattahi, Saidi Mehrabad and Jolai 2007; {lab} fattahi/mfjs01."),
    ]
