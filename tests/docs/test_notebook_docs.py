"""docs/notebook.md lists every view and every picture, and the columns of each view as they are.

`python -m tests.docs.test_notebook_docs` writes the tables of columns.
"""

from __future__ import annotations

import re

import ttplan.plots
from tests.paths import DOCS
from ttplan import views
from ttplan.workspace import Workspace

PAGE = DOCS / "notebook.md"
_BETWEEN = re.compile(r"(<!-- columns: [^\n]*-->\n).*(<!-- end of columns -->)", re.DOTALL)


def tables() -> str:
    """A table of columns for each view."""
    parts = []
    for name, columns in views.VIEWS.items():
        rows = "".join(
            f"| `{column}` | `{kind}` | {views.DESCRIPTIONS[column]} |\n"
            for column, kind in columns.items()
        )
        parts.append(f"### {name}\n\n| column | type | what it is |\n|---|---|---|\n{rows}\n")
    return "\n" + "".join(parts)


def written(page: str) -> str:
    """The page with current tables."""
    return _BETWEEN.sub(lambda match: match[1] + tables() + match[2], page)


def test_the_columns_of_every_view_are_current() -> None:
    page = PAGE.read_text()
    assert written(page) == page, "run `python -m tests.docs.test_notebook_docs`"


def test_every_view_and_plot_is_listed_with_a_picture() -> None:
    page = PAGE.read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for name in ttplan.plots.__all__:
        assert any(f"`plots.{name}(" in row and "![](notebook/" in row for row in rows), name
    for name in views.VIEWS:
        verb = name.partition(",")[0]
        assert hasattr(Workspace, verb)
        assert any(f"`ws.{verb}(" in row and "![](notebook/" in row for row in rows), name
    for picture in re.findall(r"!\[\]\(([^)]*)\)", page):
        file = PAGE.parent / picture
        assert file.read_text().rstrip().endswith("</svg>")
        assert file.stat().st_size < 200_000
        assert not re.search(
            r'url\((?!#)|href="(?!#)|<(script|image|foreignObject)|@import', file.read_text()
        )  # fetches nothing


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
