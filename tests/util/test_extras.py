"""A missing optional package is named, with the extra that installs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ttplan.util.extras import require_extra

IMPORT_WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
try:
    __import__(sys.argv[2])
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "module", "message"),
    [
        (
            "matplotlib",
            "ttplan.plots",
            "ttplan.plots needs matplotlib; install it with: pip install 'ttplan[plots]'",
        ),
        (
            "ipywidgets",
            "ttplan.panel",
            "the panel needs ipywidgets; install it with: pip install 'ttplan[notebook]'",
        ),
    ],
)
def test_a_missing_package_names_the_extra(package: str, module: str, message: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT, package, module],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == f"{message}\n"


def test_a_package_that_is_broken_itself_keeps_its_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "needs_another.py").write_text("import absent_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="absent_package"):
        require_extra("needs_another", "plots", "ttplan.plots")
