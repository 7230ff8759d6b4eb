"""The pictures of ``planner show``: SVG, PNG, and the page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.commands.common import UsageFault, not_an_input, note
from planner.files.whole import ensure_writable, write_whole
from planner.plan.plan import Plan


@dataclass(frozen=True)
class Pictures:
    """Flags of ``planner show`` that say what to draw, as they were given."""

    svg: str | None = None
    png: str | None = None
    html: str | None = None
    graph: Path | None = None
    cluster: Path | None = None
    baseline_plans: Sequence[Path] = ()

    def check(self, plan: Path) -> None:
        """Refuse before any work what cannot be written, and flags that do nothing."""
        asked = {flag: path for flag, path in self._outputs().items() if path is not None}
        if not asked and (self.baseline_plans or self.graph or self.cluster):
            raise UsageFault("--baseline-plan, --graph and --cluster are for pictures: add --html FILE, --svg or --png")
        inputs = {"plan": plan, "graph": self.graph, "cluster": self.cluster}
        inputs |= {f"plan {path}": path for path in self.baseline_plans}
        for flag, path in asked.items():
            if path == "-":
                raise UsageFault(f"{flag} takes a file: stdout is for the report")
            not_an_input(path, {what: file for what, file in inputs.items() if file is not None}, flag)
            ensure_writable(path)
        if len({os.path.realpath(path) for path in asked.values()}) < len(asked):
            raise UsageFault(f"{' and '.join(asked)} name the same file")

    def _outputs(self) -> Mapping[str, str | None]:
        return {"--svg": self.svg, "--png": self.png, "--html": self.html}

    def draw(self, path: Path, plan: Plan) -> None:
        """Write what was asked for."""
        from planner.commands.plans import label, presentable

        others = [(other, presentable(other)) for other in self.baseline_plans]
        _same_problem([plan, *(other for _, other in others)])
        if self.svg is not None or self.png is not None:
            titles = [label(path, plan), *(label(*other) for other in others)] if others else None
            self._draw_svg([plan, *(other for _, other in others)], titles)
        if self.html is not None:
            self._draw_html(path, plan, others)

    def _draw_svg(self, plans: Sequence[Plan], titles: Sequence[str] | None) -> None:
        from planner.report.svg import gantt_svg

        picture = gantt_svg(plans, titles)
        if self.svg is not None:
            write_whole(self.svg, picture)
            note(f"picture written to {self.svg}")
        if self.png is not None:
            from planner.report.png import NoPng, png_of

            try:
                write_whole(self.png, png_of(picture))
            except NoPng as error:
                raise UsageFault(str(error)) from error
            note(f"picture written to {self.png}")

    def _draw_html(self, path: Path, plan: Plan, others: Sequence[tuple[Path, Plan]]) -> None:
        from planner.commands.plans import label
        from planner.commands.posed import posed_problem, sound_times
        from planner.report.html import Shown, report_html

        shown = []
        for k, (file, each) in enumerate([(path, plan), *others]):
            sound_times(file, each)
            title = "this plan" if k == 0 and each.origin == "solve" else label(file, each)
            shown.append(Shown(each, title, posed_problem(file, each, self.graph, self.cluster)))
        assert self.html is not None
        write_whole(self.html, report_html(shown[0], shown[1:]))
        note(f"report written to {self.html}")


def _same_problem(plans: Sequence[Plan]) -> None:
    if len(plans) > 1:
        from planner.report.compare import different_problems

        different = different_problems(plans)
        if different:
            raise UsageFault(f"--baseline-plan is of another problem: {'; '.join(different)}")
