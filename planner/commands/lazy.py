"""Commands that are loaded when they are called, so that ``planner --help`` loads none of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from typer.core import TyperCommand, TyperGroup

Command = TyperCommand | TyperGroup

BEGUN: ContextVar[float] = ContextVar("BEGUN")
"""When the command was called, on the monotonic clock: time limits count from there, so loading counts as well."""


class LazyCommand(TyperCommand):
    """Name and help of a command for the list of commands; ``load`` makes the command itself."""

    def __init__(self, name: str, help: str, load: Callable[[], Command]) -> None:
        super().__init__(name, help=help, rich_markup_mode=None)
        self.load = load

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Load the command, which then reads its own arguments."""
        BEGUN.set(time.monotonic())
        return self.load().make_context(info_name, args, parent, **extra)
