"""What people read: a plan as text, several plans side by side, a picture. All of it from the plan alone."""

from planner.report.compare import compare_document, compare_text, different_problems
from planner.report.svg import gantt_svg
from planner.report.text import report_line, report_text

__all__ = [
    "compare_document",
    "compare_text",
    "different_problems",
    "gantt_svg",
    "report_line",
    "report_text",
]
