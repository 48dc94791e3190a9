"""An auditor needs only the four libraries of `ttplan.audit`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit.chains import KEY
from tests.paths import ROOT

EXPORT = ROOT / "tests" / "data" / "stores" / "0.1.0" / "chain.jsonl"
PACKAGES = ("blake3", "cryptography", "orjson", "pynacl")
NEEDED = {"blake3", "cryptography", "nacl", "orjson"}
INDIRECT = {"_cffi_backend", "cffi"}
BLOCK = f"""
import sys

ALLOWED = {NEEDED | INDIRECT} | set(sys.stdlib_module_names) | {{"ttplan"}}


class OnlyAllowed:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)


sys.meta_path.insert(0, OnlyAllowed())
"""
AUDIT = """
import sys

import ttplan
import ttplan.audit

for name in ttplan.audit.__all__:
    getattr(ttplan.audit, name)
report = ttplan.verify_file(sys.argv[1], public_key=sys.argv[2])
preamble, records = ttplan.audit.read_chain(sys.argv[1])
entries = [ttplan.audit.to_entry(record) for record in records]
tip = ttplan.TipAnchor(entries[-1].seq, entries[-1].hash)
assert ttplan.verify_chain(entries, sys.argv[2]).tip == tip
assert ttplan.verify_chain_with_anchor(entries, sys.argv[2], tip).entries == len(entries)
assert ttplan.AuditEntry(**entries[0].to_dict()) == entries[0]
assert ttplan.User.named("ada@example.com") != ttplan.System()
assert report.tip == tip and str(report) and report.page("chain.jsonl")
imported = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(report.to_dict()["verdict"], *sorted(imported))
"""


def audited(python: str, script: str, **environment: str) -> list[str]:
    """The verdict on an exported chain, and the libraries that were imported."""
    done = subprocess.run(
        [python, "-c", script, str(EXPORT), KEY.public_key.hex],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_auditor_needs_only_four_libraries() -> None:
    verdict, *libraries = audited(sys.executable, BLOCK + AUDIT)
    assert verdict == "verified"
    assert set(libraries) >= NEEDED


@pytest.mark.slow
def test_four_installed_libraries_are_enough(tmp_path: Path) -> None:
    """In an environment of its own, where nothing else is installed."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("uv is not installed")
    venv = tmp_path / "venv"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    python = str(venv / "bin" / "python")
    install = [uv, "pip", "install", "-q", "--python", python, *PACKAGES]
    subprocess.run(install, check=True, timeout=300)
    assert audited(python, AUDIT, PYTHONPATH=str(ROOT))[0] == "verified"


def test_importing_the_package_needs_no_library() -> None:
    """The exports of `ttplan.audit` load when they are first used."""
    script = "import sys; import ttplan.audit; print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "orjson" not in done.stdout
