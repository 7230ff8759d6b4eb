"""The command line: names, flags and exit codes. What a command does stands in ``planner.commands``.

Modules load inside the commands, so that ``planner --help`` need not wait for a solver.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from planner import __version__
from planner.commands.importing_models import import_app
from planner.objectives.registry import OBJECTIVES, objectives_with


class Layout(StrEnum):
    """Values of ``--layout``."""

    auto = "auto"
    linear = "linear"
    interleaved = "interleaved"
    vshape = "vshape"
    wave = "wave"
    bidirectional = "bidirectional"


class Format(StrEnum):
    """Values of ``--format``."""

    text = "text"
    json = "json"


class FileFormat(StrEnum):
    """What ``planner schema`` knows."""

    graph = "graph"
    cluster = "cluster"
    plan = "plan"


GraphFile = Annotated[Path, typer.Argument(metavar="GRAPH", help="graph.yaml: what one microbatch computes.")]
ClusterFile = Annotated[Path, typer.Argument(metavar="CLUSTER", help="cluster.yaml: devices and network.")]
PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="plan.json.")]
Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the plan there; - prints it to stdout.")
]
Microbatches = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Microbatches in one step.  [default: the graph's]")
]
MemoryCap = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Cap of every device, such as 80GiB.  [default: the cluster's]"),
]
Chunks = Annotated[int | None, typer.Option(min=1, metavar="V", help="Chunks a device of layouts that take them.")]
OutputFormat = Annotated[Format, typer.Option("--format", help="json prints one JSON document and nothing else.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", help="No progress and no notes on stderr; the report shrinks to one line.")
]
Picture = Annotated[str | None, typer.Option("--svg", metavar="FILE", help="Draw the plan as an SVG picture there.")]

app = typer.Typer(
    name="planner",
    help="Plans distributed deep learning at operator level: placement and schedule, with a proven bound.",
    epilog="Exit codes: 0 done, 1 internal error, 2 bad usage or input, 3 proven infeasible, 4 no plan within the "
    "limit, 5 threshold not met, 6 verify found violations.",
    add_completion=False,
    rich_markup_mode=None,  # plain help: it is read in logs and pipes as well
    pretty_exceptions_enable=False,
)
app.add_typer(import_app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"planner {__version__}")
        raise typer.Exit


@app.callback()
def _planner(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Plans distributed deep learning at operator level: placement and schedule, with a proven bound."""


@app.command()
def solve(
    graph: GraphFile,
    cluster: ClusterFile,
    output: Output = None,
    objective: Annotated[
        str,
        typer.Option(
            metavar=f"<{'|'.join(OBJECTIVES)}>",
            help=f"What to minimise; {'; '.join(f'{each.name}: {each.help}' for each in OBJECTIVES.values())}.",
        ),
    ] = "makespan",
    max_makespan: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help=f"With --objective {' or '.join(objectives_with('max_makespan'))}.  "
            "[default: the best makespan found]",
        ),
    ] = None,
    max_period: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help=f"With --objective {' or '.join(objectives_with('max_period'))}: a microbatch, at most.",
        ),
    ] = None,
    microbatches: Microbatches = None,
    copies: Annotated[
        int, typer.Option(min=1, metavar="K", help="Most copies of the operators; 2 allows bidirectional plans.")
    ] = 1,
    layout: Annotated[Layout, typer.Option(help="Which placements are allowed; auto: all.")] = Layout.auto,
    chunks: Chunks = None,
    memory_cap: MemoryCap = None,
    time_limit: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Such as 60 or '2 min'.  [default: 60; none with --effort]")
    ] = None,
    effort: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Schedules evaluated and branch-and-bound nodes: the same plan on any machine."
        ),
    ] = None,
    gap: Annotated[
        str, typer.Option(metavar="G", help="Optimal is what is within this fraction of the bound.")
    ] = "1e-6",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, metavar="S", help="Of the search.")] = 0,
    threads: Annotated[int, typer.Option(min=1, metavar="T", help="Threads of the solvers.")] = 2,
    baselines: Annotated[
        str, typer.Option(metavar="A,B|all|none", help="Published schedules to compare with.")
    ] = "all",
    max_bubble: Annotated[
        str | None, typer.Option(metavar="R", help="Exit with 5 where the bubble ratio is above this.")
    ] = None,
    beat: Annotated[
        str | None, typer.Option(metavar="NAME", help="Exit with 5 where the plan is not faster than this schedule.")
    ] = None,
    format: Annotated[
        Format, typer.Option("--format", help="json prints one JSON document and nothing else.")
    ] = Format.text,
    quiet: Quiet = False,
) -> int:
    """Plan: the best placement and schedule that can be found, with a proven lower bound."""
    begun = time.monotonic()
    from planner.commands.solve import Inputs, Search, solve_command

    inputs = Inputs(graph, cluster, output, microbatches, chunks, memory_cap, format is Format.json, quiet)
    search = Search(
        objective,
        max_makespan,
        max_period,
        copies,
        layout.value,
        time_limit,
        effort,
        gap,
        seed,
        threads,
        baselines,
        max_bubble,
        beat,
    )
    return solve_command(inputs, search, begun)


@app.command()
def baseline(
    name: Annotated[str, typer.Argument(metavar="NAME", help="gpipe, 1f1b, zb1p, dualpipe, ...")],
    graph: GraphFile,
    cluster: ClusterFile,
    output: Output = None,
    microbatches: Microbatches = None,
    chunks: Chunks = None,
    memory_cap: MemoryCap = None,
    format: OutputFormat = Format.text,
    quiet: Quiet = False,
) -> int:
    """The plan of a published schedule on the same inputs."""
    from planner.commands.solve import Inputs, baseline_command

    inputs = Inputs(graph, cluster, output, microbatches, chunks, memory_cap, format is Format.json, quiet)
    return baseline_command(name, inputs)


@app.command()
def compare(
    plans: Annotated[list[Path], typer.Argument(metavar="PLAN PLAN...", help="Two plans or more.")],
    force: Annotated[bool, typer.Option("--force", "--any", help="Compare plans of different problems too.")] = False,
    svg: Picture = None,
    format: OutputFormat = Format.text,
) -> int:
    """Plans of one problem side by side."""
    from planner.commands.plans import compare_command

    return compare_command(plans, force, format is Format.json, svg)


@app.command()
def verify(
    plan: PlanFile,
    graph: Annotated[Path, typer.Option(metavar="GRAPH", help="The graph that the plan is for.")],
    cluster: Annotated[Path, typer.Option(metavar="CLUSTER", help="The cluster that the plan is for.")],
    copies: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Copies allowed.  [default: the plan's option]")
    ] = None,
    memory_cap: MemoryCap = None,
    microbatches: Microbatches = None,
    format: OutputFormat = Format.text,
) -> int:
    """Check a plan against every rule, independently of the solver."""
    from planner.commands.plans import verify_command

    return verify_command(plan, graph, cluster, copies, memory_cap, microbatches, format is Format.json)


@app.command()
def stretch(
    plan: PlanFile,
    graph: Annotated[Path, typer.Option(metavar="GRAPH", help="The graph that the plan is for.")],
    cluster: Annotated[Path, typer.Option(metavar="CLUSTER", help="The cluster that the plan is for.")],
    microbatches: Annotated[int, typer.Option(min=1, metavar="N", help="Microbatches that it is to have.")],
    output: Output = None,
    format: OutputFormat = Format.text,
    quiet: Quiet = False,
) -> int:
    """A plan for more microbatches: its repeatable window, run more often, without a search."""
    from planner.commands.solve import Inputs
    from planner.commands.stretch import stretch_command

    inputs = Inputs(graph, cluster, output, microbatches, None, None, format is Format.json, quiet)
    return stretch_command(plan, microbatches, inputs)


@app.command()
def show(
    plan: PlanFile,
    svg: Picture = None,
    png: Annotated[str | None, typer.Option(metavar="FILE", help="The same as PNG (pip install 'planner[png]').")] = (
        None
    ),
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="An interactive page of the plan there; it works offline.")
    ] = None,
    baseline_plan: Annotated[
        list[Path] | None, typer.Option(metavar="PLAN", help="Another plan to draw under it; repeatable.")
    ] = None,
    baselines: Annotated[
        str,
        typer.Option(metavar="A,B|all|none", help="Published schedules to replay under it; all: those in the plan."),
    ] = "none",
    graph: Annotated[
        Path | None, typer.Option(metavar="GRAPH", help="For the page: memory over time, exact causes of idle time.")
    ] = None,
    cluster: Annotated[Path | None, typer.Option(metavar="CLUSTER", help="The same; both or neither.")] = None,
    format: OutputFormat = Format.text,
) -> int:
    """The report of a plan, from its file alone; pictures and a page where asked for."""
    from planner.commands.pictures import Pictures
    from planner.commands.plans import show_command

    pictures = Pictures(svg, png, html, graph, cluster, baseline_plan or (), baselines)
    return show_command(plan, format is Format.json, pictures)


@app.command()
def export(
    plan: PlanFile,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="trace, torch-csv, megatron.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.  [default: stdout]")
    ] = None,
    graph: Annotated[Path | None, typer.Option(metavar="GRAPH", help="The graph that the plan is for.")] = None,
    cluster: Annotated[Path | None, typer.Option(metavar="CLUSTER", help="The cluster that the plan is for.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Change what the format cannot express; says the cost.")] = (
        False
    ),
    layers: Annotated[
        str | None,
        typer.Option(metavar="RULES", help="For megatron, such as 'E=embed,t=layer.*,L=head'.  [default: by names]"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes on stderr.")] = False,
) -> int:
    """A plan as a file that another program reads."""
    from planner.commands.export import export_command
    from planner.export import ExportOptions

    return export_command(to, ExportOptions(plan, graph, cluster, repair, layers), output, quiet)


@app.command()
def simulate(
    plans: Annotated[list[Path], typer.Argument(metavar="PLAN [PLAN...]", help="The plan; more to compare it with.")],
    jitter: Annotated[
        str, typer.Option(metavar="R", help="Deviation of each pass and transfer, as a part of its length.")
    ] = "0.1",
    slow_device: Annotated[
        list[str] | None, typer.Option(metavar="NAME=X", help="Passes there take X times as long; repeatable.")
    ] = None,
    slow_link: Annotated[
        list[str] | None, typer.Option(metavar="FROM:TO=X", help="Transfers take X times as long; * is any device.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="How many replays.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, metavar="S", help="Of the disturbance.")] = 0,
    graph: Annotated[Path | None, typer.Option(metavar="GRAPH", help="The graph that the plan is for.")] = None,
    cluster: Annotated[Path | None, typer.Option(metavar="CLUSTER", help="The cluster that the plan is for.")] = None,
    baselines: Annotated[
        str, typer.Option(metavar="A,B|all|none", help="Published schedules beside it; all: those in the plan.")
    ] = "all",
    format: OutputFormat = Format.text,
) -> int:
    """Replay a plan many times with disturbed times: how long the step takes then, beside the baselines."""
    from planner.commands.simulate import SimulateFlags, simulate_command

    json = format is Format.json
    flags = SimulateFlags(graph, cluster, jitter, slow_device or (), slow_link or (), runs, seed, baselines, json)
    return simulate_command(plans, flags)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write them.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes on stderr.")] = False,
) -> int:
    """Write a small graph.yaml and cluster.yaml to start from."""
    from planner.commands.init import init_command

    return init_command(folder, force, quiet)


@app.command()
def schema(
    name: Annotated[FileFormat, typer.Argument(metavar="graph|cluster|plan", help="Which file format.")],
) -> int:
    """The JSON Schema of a file format."""
    import json

    from planner.commands.common import emit
    from planner.files.schemas import schema as schema_of

    emit(json.dumps(schema_of(name.value), indent=2) + "\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code. Every error is one line on stderr, none a traceback."""
    debug = bool(os.environ.get("PLANNER_DEBUG"))
    gc.freeze()  # what was imported stays; a plan of 50,000 tasks is no garbage either, so look for some less often
    gc.set_threshold(200_000, 50, 100)
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        result = app(given, prog_name="planner", standalone_mode=False)
        return int(result or 0)
    except KeyboardInterrupt:
        _complain("interrupted")
        return 128 + 2
    except Exception as error:
        known = _known_error(error)
        if known is not None:
            _complain(known[1])
            return known[0]
        if debug:
            raise
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        _complain(f"internal error: {what} (PLANNER_DEBUG=1 shows where)")
        return 1
    finally:
        gc.freeze()  # the interpreter, when it ends, would look through all that solvers have loaded: 0.15 s


def _known_error(error: Exception) -> tuple[int, str] | None:
    """Exit code and message of the errors that users cause; None for all others."""
    format_message = getattr(error, "format_message", None)
    if format_message is not None:  # what typer says about flags and arguments
        context: Any = getattr(error, "ctx", None)
        path = "planner" if context is None else context.command_path
        message = str(format_message()).strip().rstrip(".").replace("Value error, ", "")
        return 2, f"{message} (see {path} --help)"
    if isinstance(error, typer.Abort):
        return 130, "interrupted"

    from planner.commands.common import UsageFault
    from planner.files.errors import InputError
    from planner.problem import Impossible, ProblemError

    if isinstance(error, UsageFault | InputError | ProblemError):
        return 2, str(error)
    if isinstance(error, Impossible):
        return 3, f"infeasible: {error}"
    return None


def _complain(message: str) -> None:
    if sys.stderr is not None:
        line = "".join(c if c.isprintable() else " " for c in message)
        try:
            print(f"planner: {line}", file=sys.stderr, flush=True)
        except (OSError, UnicodeEncodeError):
            return


if __name__ == "__main__":
    sys.exit(main())
