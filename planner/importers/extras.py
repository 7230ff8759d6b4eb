"""Packages that only some commands need."""

from __future__ import annotations

from importlib.util import find_spec

from planner.files.flag_values import UsageFault

PIP = {"onnx": "onnx>=1.18,<2", "torch": "torch>=2.9,<3"}
"""The same as the extras of these names in pyproject.toml."""


def need(package: str, command: str) -> None:
    """Raise ``UsageFault`` with the line that installs the package if it is missing."""
    if find_spec(package) is None:
        raise UsageFault(f"{command} needs the package {package}: pip install '{PIP[package]}'")
