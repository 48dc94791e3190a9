"""Run the notebooks and store their outputs, after a change that is meant to change them.

`python scripts/run_notebooks.py` runs all notebooks, `… quickstart panel` only those named.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
CELL_TIMEOUT = 300  # seconds


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    for name in names:
        path = NOTEBOOKS / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            resources={"metadata": {"path": str(NOTEBOOKS)}},
            store_widget_state=False,
        )
        client.execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
        code_cells = sum(cell.cell_type == "code" for cell in notebook.cells)
        print(f"{path.name}: {code_cells} code cells")


if __name__ == "__main__":
    main()
