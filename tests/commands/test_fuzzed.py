"""A thousand mutated command lines and files (scripts/fuzz.py runs more): a valid result or one clear error each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fuzzing.cases import TEMPLATES, case_of
from fuzzing.check import checked
from planner.commands.app import COMMANDS

SEED, PARTS, EACH = 17, 8, 125


def test_every_command_is_among_them() -> None:
    assert TEMPLATES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("part", range(PARTS))
def test_no_case_fails(part: int, tmp_path: Path) -> None:
    """No traceback, a documented exit code, a file named where one is at fault, whole outputs, plans that verify."""
    home, failed = Path.cwd(), []
    try:
        for number in range(part * EACH, (part + 1) * EACH):
            case = case_of(SEED, number)
            folder = tmp_path / str(number)
            folder.mkdir()
            _, wrong = checked(case, folder)
            failed += [f"python scripts/fuzz.py --seed {SEED} --case {number}: {case}: {each}" for each in wrong]
    finally:
        os.chdir(home)
    assert not failed, "\n".join(failed)
