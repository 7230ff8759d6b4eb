"""The page of ``planner strategy``: one HTML file with its data, to look at in a browser."""

from planner.strategies.page.page import strategy_html

__all__ = ["strategy_html"]
