"""What all tests share."""

from __future__ import annotations

import gc
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.paths import DATA
from tests.repeats import FIRST_CASES, ONLY_IN_ALL

LONG = ("tests/faults/test_harness.py",)
"""What takes minutes begins first, so that no process is left with it at the end while the others
have nothing to do.
"""

# To compile a replay makes a hundred thousand objects, which refer to one another and last: looked
# at as often as Python does unless told otherwise, they take a fifth of the time of all tests.
gc.set_threshold(100_000, 20, 20)

# A shell that starts tests in the background has them ignore Ctrl-C, and their children, too; some
# tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def sample_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the sample log, made once: tests copy it, or only read it."""
    import ttplan
    from tests.audit.chains import KEY

    path = tmp_path_factory.mktemp("sample") / "plans.duckdb"
    ttplan.open(path, key=KEY).import_logs(DATA / "requests.parquet", progress=False)
    return path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="run only the first case of a parametrised test"
    )


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out slow tests
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
    seen: Counter[str] = Counter()
    for item in items:
        if next(item.iter_markers("slow"), None) is not None:
            continue
        test = item.nodeid.split("[")[0].removeprefix("tests/")
        seen[test] += 1
        cases = 0 if test in ONLY_IN_ALL else FIRST_CASES.get(test, len(items))
        if seen[test] > (min(1, cases) if config.getoption("quick") else cases):
            item.add_marker(pytest.mark.slow)
