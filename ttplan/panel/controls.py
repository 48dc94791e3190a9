"""The controls of the panel, each with its own label."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

STYLE = """<style>
.tt-panel .widget-html, .tt-panel .widget-html-content {
  line-height: 1.5; height: auto; overflow: visible}
.tt-panel .tt-notice {padding: 0.4em 0.8em; background: var(--jp-layout-color2);
  color: var(--jp-ui-font-color1); overflow-wrap: anywhere}
.tt-panel .tt-table {overflow-x: auto}
.tt-panel .tt-table table {margin: 0.5em 0; font-size: var(--jp-ui-font-size1)}
.tt-panel .tt-table td, .tt-panel .tt-table th {
  text-align: left; vertical-align: top; white-space: nowrap}
.tt-panel .tt-table .tt-long {white-space: normal; overflow-wrap: anywhere}
.tt-panel .tt-empty, .tt-panel .tt-title {margin: 0.5em 0; color: var(--jp-ui-font-color1)}
.tt-panel select, .tt-panel input {color: var(--jp-ui-font-color1)}
</style>"""
"""Colours are the theme's variables, so that light and dark themes are readable."""


def field(label: str, placeholder: str, value: str = "", *, width: str = "32em") -> Any:
    """A line of text with its label."""
    return widgets.Text(
        value=value,
        description=label,
        placeholder=placeholder,
        style={"description_width": "8em"},
        layout={"width": width, "max_width": "100%"},
    )


def button(label: str, style: str = "") -> Any:
    """A button."""
    return widgets.Button(description=label, button_style=style, layout={"width": "auto"})


def html_area(text: str = "") -> Any:
    """An area for HTML that is already escaped."""
    return widgets.HTML(text, layout={"width": "100%"})


def row(*children: Any) -> Any:
    """Controls in a row, which wraps if it is too long."""
    return widgets.HBox(children, layout={"flex_flow": "row wrap", "align_items": "center"})


def columns(left: Any, right: Any) -> Any:
    """Two columns, one below the other on a narrow page."""
    for column, width in ((left, "36em"), (right, "24em")):
        column.layout = {"flex": f"1 1 {width}", "min_width": "0"}
    return widgets.HBox(
        [left, right], layout={"flex_flow": "row wrap", "align_items": "flex-start"}
    )


def stack(*children: Any) -> Any:
    """Controls below one another."""
    return widgets.VBox(children, layout={"width": "100%"})
