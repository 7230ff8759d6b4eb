"""What pyproject.toml cannot say: the wheel carries configs/, which stands beside the package, inside of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Takes configs/ along."""

    def run(self) -> None:
        """Copy it to planner/configs; an editable install reads the checkout's own."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "planner" / "configs"
            shutil.rmtree(target, ignore_errors=True)  # what an earlier build left
            shutil.copytree("configs", target)


setup(cmdclass={"build_py": BuildWithConfigs})
