"""The command line: the table of commands, ``main``, and the exit code of every error.

A command is a file of this package with ``run(flags)``, and an entry of ``COMMANDS``. The dataclass of ``flags``
declares its options. A command is loaded when it is called, so that ``planner --help`` loads no solver.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from planner import __version__
from planner.commands import completion
from planner.commands.lazy import Command, LazyCommand

ABOUT = "Plans distributed deep learning at operator level: placement and schedule, with a proven bound."

COMMANDS = {
    "solve": "Plan: the best placement and schedule that can be found, with a proven lower bound.",
    "sweep": "Many solves: a grid of flags of solve, the frontier of memory and time, on processes or Dask.",
    "baseline": "The plan of a baseline on the same inputs.",
    "compare": "Plans of one problem, or of one model and batch, side by side.",
    "verify": "Check a plan against every rule, independently of the solver.",
    "strategy": "The best way to share a model among the GPUs of a cluster, with a bound over all of them.",
    "predict": "Step time and memory of many strategies of a model, one row of a table each.",
    "stretch": "A plan for more microbatches: its steady-state pattern, run more often, without a search.",
    "show": "The report of a plan, from its file alone; pictures and a page where asked for.",
    "export": "A plan as a file that another program reads.",
    "simulate": "Replay a plan many times with disturbed times: how long the step takes then, beside the baselines.",
    "explain": "Where the time of a plan goes, what to speed up first, and what would help, measured.",
    "warmup": "Compile the search now, so that the first plan does not wait for it.",
    "init": "Write a small graph.yaml and cluster.yaml to start from.",
    "configs": "The graphs, models and clusters that come with planner: list them, or copy them with --copy DIR.",
    "calibrate": "Curves of kernels and collectives of an accelerator, from tables of measured ones.",
    "schema": "The JSON Schema of a file format.",
    "import": "A graph.yaml from a model or a graph of another format.",
}
"""What ``planner --help`` lists, in this order: the name of a file of this package, and its help."""


def _load(name: str, help: str) -> Command:
    """The command ``name``; ``import``, ``export`` and ``sweep`` build theirs from what others declare."""
    if name == "import":  # a keyword, which no module can be called
        from planner.commands.importing import group

        return group(name, help)
    module = import_module(f"planner.commands.{name}")
    if hasattr(module, "command"):
        made: Command = module.command(name, help)
        return made
    from planner.commands.declared import command

    hints = get_type_hints(module.run)
    return command(name, help, module.run, hints["flags"])


class _Commands(TyperGroup):
    """``planner`` with the commands of the table."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for name, help in COMMANDS.items():
            self.add_command(LazyCommand(name, help, partial(_load, name, help)))


app = typer.Typer(
    name="planner",
    cls=_Commands,
    help=ABOUT,
    epilog="Exit codes: 0 done, 1 internal error, 2 bad usage or input, 3 proven infeasible, 4 no plan within the "
    "limit, 5 threshold not met, 6 verify found violations.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,  # planner.commands.completion has the options: typer's fail where no shell can be detected
    rich_markup_mode=None,  # plain help: it is read in logs and pipes as well
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"planner {__version__}")
        raise typer.Exit


@app.callback()
def _planner(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
    install_completion: Annotated[
        str | None,
        typer.Option(metavar="[SHELL]", callback=completion.install, is_eager=True, help="Complete planner on Tab."),
    ] = None,
    show_completion: Annotated[
        str | None,
        typer.Option(metavar="[SHELL]", callback=completion.show, is_eager=True, help="Print the script that does so."),
    ] = None,
) -> None:
    """Options of ``planner`` itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Every error is one line on stderr, without a traceback."""
    debug = bool(os.environ.get("PLANNER_DEBUG"))
    gc.freeze()  # imported objects and large plans are no garbage: collect less often
    gc.set_threshold(200_000, 50, 100)
    _hear_sigterm()
    try:
        given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
        given = completion.prepared(given)
        result = app(given, prog_name="planner", standalone_mode=False)
        if result == INTERRUPTED:  # what typer makes of Ctrl-C
            _complain("interrupted")
        return int(result or 0)
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except Terminated:
        _complain("terminated")
        return 128 + 15
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
        gc.freeze()  # saves 0.15 s: the last collection skips all that solvers have loaded


INTERRUPTED = 128 + 2
"""Exit code of Ctrl-C, as shells have it."""


class Terminated(BaseException):
    """SIGTERM, raised where the program is, so that it leaves no temporary file behind; ``solve`` listens itself."""


def _hear_sigterm() -> None:
    def handle(number: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, handle)
        sys.unraisablehook = partial(_send_again, sys.unraisablehook)


def _send_again(otherwise: Callable[[Any], object], unraisable: Any) -> None:
    """A signal that came where no exception can be raised (in a callback of a C library) is sent again, soon."""
    number = {Terminated: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}.get(unraisable.exc_type)
    if number is None:
        otherwise(unraisable)
        return
    again = threading.Timer(0.005, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


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

    from planner.files.errors import InputError
    from planner.files.flag_values import UsageFault
    from planner.problem import Impossible, ProblemError

    if isinstance(error, UsageFault | InputError | ProblemError):
        return 2, str(error)
    if isinstance(error, Impossible):
        return 3, f"infeasible: {error}"
    return None


def _complain(message: str) -> None:
    if sys.stderr is not None:
        from planner.common.messages import brief

        line = brief(" ".join(message.splitlines()))
        try:
            print(f"planner: {line}", file=sys.stderr, flush=True)
        except (OSError, UnicodeEncodeError):
            return


if __name__ == "__main__":
    sys.exit(main())
