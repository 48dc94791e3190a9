"""Fuzz a target with atheris: python -m tests.fuzz.guided TARGET [libFuzzer's arguments]"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ttplan.audit"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.run)
    atheris.Fuzz()
