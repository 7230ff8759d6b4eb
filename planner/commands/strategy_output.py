"""Where ``planner strategy`` leaves its answer in both modes: the page, and the document in the folder of ``-o``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from planner.commands.common import note
from planner.commands.executors import check_executor
from planner.commands.strategy_flags import StrategyFlags
from planner.files.errors import shown
from planner.files.flag_values import UsageFault
from planner.files.whole import ensure_writable, write_whole
from planner.plan.plan import Plan


def check_outputs(flags: StrategyFlags) -> None:
    """Refuse what could not be written, before the search. Raises ``InputError`` and ``UsageFault``."""
    check_executor(flags.processes, flags.dask)
    if flags.output is not None and flags.output.exists() and not flags.output.is_dir():
        raise UsageFault(f"-o {shown(str(flags.output))} is a file: name a folder")
    if flags.html is not None:
        ensure_writable(flags.html)


def write_answer(flags: StrategyFlags, document: Mapping[str, Any], winner: Plan | None) -> None:
    """The page, where one is asked for, and ``strategy.json`` in the folder. ``winner``: the plan of the best."""
    if flags.html is not None or flags.output is not None:
        from planner.strategies.page import strategy_html  # imported here: most answers are text alone

        page = strategy_html(document, winner, None)
        if flags.html is not None:
            write_whole(flags.html, page)
            note(f"page written to {flags.html}", flags.quiet)
        if flags.output is not None:
            flags.output.mkdir(parents=True, exist_ok=True)
            write_whole(str(flags.output / "strategy.html"), page)
            text = json.dumps(document, indent=1, allow_nan=False) + "\n"
            write_whole(str(flags.output / "strategy.json"), text)
