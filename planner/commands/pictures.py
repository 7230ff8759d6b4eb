"""The pictures of ``planner show``: SVG, PNG, and the page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from planner.commands.common import UsageFault, not_an_input, note
from planner.files.whole import ensure_writable, write_whole
from planner.plan.plan import Plan
from planner.problem import Problem


@dataclass(frozen=True)
class _Drawn:
    """A plan to draw; ``on_page``: its title on the page, where that is another one."""

    plan: Plan
    title: str
    on_page: str | None
    problem: Problem | None


@dataclass(frozen=True)
class Pictures:
    """Flags of ``planner show`` that say what to draw, as they were given."""

    svg: str | None = None
    png: str | None = None
    html: str | None = None
    graph: Path | None = None
    cluster: Path | None = None
    baseline_plans: Sequence[Path] = ()
    baselines: str = "none"

    def check(self, plan: Path) -> None:
        """Refuse before any work what cannot be written, and flags that do nothing."""
        asked = {flag: path for flag, path in self._outputs().items() if path is not None}
        if not asked and (self.baseline_plans or self.graph or self.cluster or self.baselines != "none"):
            flags = "--baselines, --baseline-plan, --graph and --cluster"
            raise UsageFault(f"{flags} are for pictures: add --html FILE, --svg or --png")
        if self.baselines != "none" and not (self.graph and self.cluster):
            raise UsageFault("--baselines replays published schedules: that takes --graph and --cluster")
        if self.baselines != "none":
            from planner.commands.replayed import wanted_baselines

            wanted_baselines(self.baselines)
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
        from planner.commands.problem_of_plan import label, posed_problem, presentable, sound_times

        given = [(other, presentable(other)) for other in self.baseline_plans]
        _same_problem([plan, *(other for _, other in given)])
        shown = []
        for k, (file, each) in enumerate([(path, plan), *given]):
            problem = None
            if self._exact:
                sound_times(file, each)
                problem = posed_problem(file, each, self.graph, self.cluster)
            on_page = "this plan" if k == 0 and each.origin == "solve" else None
            shown.append(_Drawn(each, label(file, each), on_page, problem))
        shown += self._replayed(shown)
        if self.svg is not None or self.png is not None:
            titles = [each.title for each in shown] if len(shown) > 1 else None
            self._draw_svg([each.plan for each in shown], titles)
        if self.html is not None:
            self._draw_html(shown)

    @property
    def _exact(self) -> bool:
        """Whether graph and cluster matter: to the page, and to replay schedules."""
        return self.html is not None or self.baselines != "none"

    def _replayed(self, shown: Sequence[_Drawn]) -> list[_Drawn]:
        """The published schedules that ``--baselines`` asks for, but for those whose plans are there."""
        problem = shown[0].problem
        if self.baselines == "none" or problem is None:
            return []
        from planner.commands.replayed import chosen_baselines, replayed, wanted_baselines

        names = chosen_baselines(shown[0].plan, wanted_baselines(self.baselines), [each.title for each in shown])
        return [
            _Drawn(each, name, None, replace(problem, copies=max(problem.copies, each.copies)))
            for name, each in replayed(names, problem)
        ]

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

    def _draw_html(self, drawn: Sequence[_Drawn]) -> None:
        from planner.report.html import Shown, report_html

        shown = [Shown(each.plan, each.on_page or each.title, each.problem) for each in drawn]
        assert self.html is not None
        write_whole(self.html, report_html(shown[0], shown[1:]))
        note(f"report written to {self.html}")


def _same_problem(plans: Sequence[Plan]) -> None:
    if len(plans) > 1:
        from planner.report.compare import different_problems

        different = different_problems(plans)
        if different:
            raise UsageFault(f"--baseline-plan is of another problem: {'; '.join(different)}")
