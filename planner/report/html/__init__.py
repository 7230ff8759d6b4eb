"""One self-contained page of a plan: schedule, idle time, memory, baselines. Works offline, asks for nothing."""

from planner.report.html.page import Shown, report_html

__all__ = ["Shown", "report_html"]
