"""Makes the shared helpers beside this file importable from every folder of tests, and opens a browser for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium import webdriver


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """For the tests that ``.ci/run`` calls by name: they need an extra."""
    from browser_page import opened

    with opened(tmp_path_factory.mktemp("profile")) as browser:
        yield browser
