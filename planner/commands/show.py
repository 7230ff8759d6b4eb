"""``planner show``: the report of a plan, from its file alone; pictures and a page where asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from planner.commands import flags as options
from planner.commands.common import ExitCode, emit, not_an_input, note, report_style
from planner.commands.names import baselines_named
from planner.commands.problem_of_plan import label, presentable, presentable_file, problem_of_plan, sound_times
from planner.common.version import DISTRIBUTION
from planner.files.flag_values import UsageFault
from planner.files.whole import ensure_writable, write_whole
from planner.plan.plan import Plan, plan_to_json
from planner.problem import BASE, Problem

FOR_PICTURES = "--baselines, --baseline-plan, --graph and --cluster are for pictures: add --html FILE, --svg or --png"


@dataclass(frozen=True)
class _Drawn:
    """A plan to draw; ``on_page``: its title on the page, if that differs."""

    plan: Plan
    title: str
    on_page: str | None
    problem: Problem | None


@dataclass(frozen=True)
class ShowFlags:
    """Options of ``planner show``; most of them say what to draw."""

    plan: options.PlanFile
    svg: options.Picture = None
    png: Annotated[
        str | None, typer.Option(metavar="FILE", help=f"The same as PNG (pip install '{DISTRIBUTION}[png]').")
    ] = None
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="An interactive page of the plan there; it works offline.")
    ] = None
    baseline_plan: Annotated[
        list[Path] | None, typer.Option(metavar="PLAN", help="Another plan to draw under it; repeatable.")
    ] = None
    baselines: Annotated[
        str,
        typer.Option(metavar="A,B|all|none", help="Baselines to replay under it; all: those in the plan."),
    ] = "none"
    graph: Annotated[
        Path | None, typer.Option(metavar="GRAPH", help="For the page: memory over time, exact causes of idle time.")
    ] = None
    cluster: Annotated[Path | None, typer.Option(metavar="CLUSTER", help="The same; both or neither.")] = None
    compact: options.Compact = False
    format: options.OutputFormat = options.Format.text

    def check(self) -> None:
        """Refuse, before any work, files that cannot be written and flags that do nothing."""
        asked = {flag: path for flag, path in self._outputs().items() if path is not None}
        if not asked and (self._others or bool(self.graph) != bool(self.cluster) or self.baselines != "none"):
            raise UsageFault(FOR_PICTURES)
        if self.compact and self.format is not options.Format.json:
            raise UsageFault("--compact goes with --format json, which prints the plan")
        if self.baselines != "none" and not (self.graph and self.cluster):
            raise UsageFault("--baselines replays baselines: that takes --graph and --cluster")
        if self.baselines != "none":
            baselines_named(self.baselines)
        inputs = {"plan": self.plan, "graph": self.graph, "cluster": self.cluster}
        inputs |= {f"plan {path}": path for path in self._others}
        for flag, path in asked.items():
            if path == "-":
                raise UsageFault(f"{flag} takes a file: stdout is for the report")
            not_an_input(path, {what: file for what, file in inputs.items() if file is not None}, flag)
            ensure_writable(path)
        if len({os.path.realpath(path) for path in asked.values()}) < len(asked):
            raise UsageFault(f"{' and '.join(asked)} name the same file")

    @property
    def _others(self) -> Sequence[Path]:
        return self.baseline_plan or ()

    def _outputs(self) -> Mapping[str, str | None]:
        return {"--svg": self.svg, "--png": self.png, "--html": self.html}

    def problem(self, plan: Plan) -> Problem | None:
        """The problem of the plan, where graph and cluster are given for a report that has a use for them.

        Without a picture only variants have one: what they free and cost.
        """
        if self.graph is None or any(self._outputs().values()):
            return None
        from planner.report.variants import has_variants

        if not has_variants(plan):
            raise UsageFault(FOR_PICTURES)
        sound_times(self.plan, plan)
        return problem_of_plan(self.plan, plan, self.graph, self.cluster)

    def draw(self, plan: Plan) -> Problem | None:
        """Write what was asked for. Returns the problem of the plan, if it was read."""
        given = [(other, presentable(other)) for other in self._others]
        _same_problem([plan, *(other for _, other in given)])
        shown = []
        for k, (file, each) in enumerate([(self.plan, plan), *given]):
            problem = None
            if self._exact:
                sound_times(file, each)
                problem = problem_of_plan(file, each, self.graph, self.cluster)
            on_page = "this plan" if k == 0 and each.origin == "solve" else None
            shown.append(_Drawn(each, label(file, each), on_page, problem))
        shown += self._replayed(shown)
        if self.svg is not None or self.png is not None:
            titles = [each.title for each in shown] if len(shown) > 1 else None
            self._draw_svg([each.plan for each in shown], titles)
        if self.html is not None:
            self._draw_html(shown)
        return shown[0].problem

    @property
    def _exact(self) -> bool:
        """Whether graph and cluster are used: by the page, and to replay baselines."""
        return self.html is not None or self.baselines != "none"

    def _replayed(self, shown: Sequence[_Drawn]) -> list[_Drawn]:
        """The baselines that ``--baselines`` asks for, except those whose plans are given."""
        problem = shown[0].problem
        if self.baselines == "none" or problem is None:
            return []
        from planner.commands.replayed import chosen_baselines, replayed

        names = chosen_baselines(shown[0].plan, baselines_named(self.baselines), [each.title for each in shown])
        return [
            _Drawn(each, _with_variant(name, each), None, replace(problem, copies=max(problem.copies, each.copies)))
            for name, each in replayed(names, problem)
        ]

    def _draw_svg(self, plans: Sequence[Plan], titles: Sequence[str] | None) -> None:
        from planner.report.svg import gantt_svg

        picture = gantt_svg(plans, titles)
        rendered = None if self.png is None else self._rendered(picture)  # before any file is written: it may fail
        if self.svg is not None:
            write_whole(self.svg, picture)
            note(f"picture written to {self.svg}")
        if self.png is not None and rendered is not None:
            write_whole(self.png, rendered)
            note(f"picture written to {self.png}")

    @staticmethod
    def _rendered(picture: str) -> bytes:
        from planner.report.png import NoPng, png_of

        try:
            return png_of(picture)
        except NoPng as error:
            raise UsageFault(str(error)) from error

    def _draw_html(self, drawn: Sequence[_Drawn]) -> None:
        from planner.report.html import Shown, report_html

        shown = [Shown(each.plan, each.on_page or each.title, each.problem) for each in drawn]
        assert self.html is not None
        write_whole(self.html, report_html(shown[0], shown[1:]))
        note(f"report written to {self.html}")


def _with_variant(name: str, baseline: Plan) -> str:
    """The name of a baseline and the variant of its operators, where that is not base."""
    variants = sorted({placed.variant for placed in baseline.placement} - {BASE})
    return f"{name} ({', '.join(variants)})" if variants else name


def _same_problem(plans: Sequence[Plan]) -> None:
    if len(plans) > 1:
        from planner.report.compare import different_problems

        different = different_problems(plans)
        if different:
            raise UsageFault(f"--baseline-plan is of another problem: {'; '.join(different)}")


def run(flags: ShowFlags) -> int:
    """Draw what is asked for, then print the report."""
    from planner.report.text import report_text

    flags.check()
    read = presentable_file(flags.plan)
    plan = read.plan
    problem = flags.problem(plan)
    drawn_of = flags.draw(plan)
    if flags.format is options.Format.json and flags.compact == read.compact:
        emit(read.text)  # the file itself, with keys that this version does not know
    elif flags.format is options.Format.json:
        emit(plan_to_json(plan, compact=flags.compact))
    else:
        emit(report_text(plan, *report_style(), problem or drawn_of))
    return ExitCode.DONE
