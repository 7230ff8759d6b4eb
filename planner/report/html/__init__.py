"""One self-contained page of a plan: schedule, idle time, memory, baselines. It works offline and loads nothing."""

from planner.report.html.page import Shown, report_html

__all__ = ["Shown", "report_html"]
