"""Packages that only some commands need."""

from __future__ import annotations

from importlib.util import find_spec

from planner.common.version import extra_hint
from planner.files.flag_values import UsageFault


def need(package: str, command: str) -> None:
    """Raise ``UsageFault`` with the line that installs the package, an extra of the same name, if it is missing."""
    if find_spec(package) is None:
        raise UsageFault(f"{command} needs the package {package}: {extra_hint(package)}")
