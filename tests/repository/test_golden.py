"""Fixed seed, fixed effort: the plan is the same, byte for byte, as the one that was kept (``scripts/golden.py``)."""

import json

import pytest

from golden import CASES, KEPT, Case, golden


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_plan_is_the_one_that_was_kept(case: Case) -> None:
    """A change of the structure changes no plan; one of the search may, and is then kept with --write."""
    assert golden(case) == json.loads(KEPT.read_text())["short"][case.name]
