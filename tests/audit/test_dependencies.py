"""An auditor needs only the five libraries of `ttplan.audit`."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.audit.chains import KEY, chain, exported

# The libraries of `ttplan.audit`, and what they import themselves.
NEEDED = {"blake3", "cryptography", "nacl", "orjson", "pydantic"}
INDIRECT = {
    "_cffi_backend",
    "annotated_types",
    "cffi",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
}
SCRIPT = """
import sys

ALLOWED = set(sys.argv[3].split(",")) | set(sys.stdlib_module_names) | {"ttplan"}


class OnlyAllowed:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)


sys.meta_path.insert(0, OnlyAllowed())
import ttplan.audit

for name in ttplan.audit.__all__:
    getattr(ttplan.audit, name)
report = ttplan.audit.verify_file(sys.argv[1], public_key=sys.argv[2])
imported = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(report.verdict, report.entries, *sorted(imported))
"""


@pytest.mark.skipif(
    find_spec("ttplan.util.monitor") is None, reason="ttplan.util imports rich and PyYAML"
)
def test_auditor_needs_only_five_libraries(tmp_path: Path) -> None:
    path = tmp_path / "chain.jsonl"
    path.write_bytes(exported(chain(3)))
    command = [sys.executable, "-c", SCRIPT, str(path), KEY.public_key.hex]
    done = subprocess.run(
        [*command, ",".join(NEEDED | INDIRECT)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    words = done.stdout.split()
    assert words[:2] == ["verified", "3"]
    assert set(words[2:]) >= NEEDED


def test_importing_the_package_needs_no_library() -> None:
    """The exports of `ttplan.audit` load when they are first used."""
    script = "import sys; import ttplan.audit; print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "pydantic" not in done.stdout
    assert "orjson" not in done.stdout
