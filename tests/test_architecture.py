"""Packages import downwards only, keep to their own libraries, and stay easy to find one's way in.

docs/architecture.md holds the one table of layers; these tests read it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import DOCS, ROOT, TESTS
from tests.repeats import FIRST_CASES, ONLY_IN_ALL

PACKAGE = ROOT / "ttplan"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES, MIN_LINES, MAX_FILES = 450, 40, 15
LIGHT = {"ttplan.model.stored_entry", "ttplan.model.base", "ttplan.util.extras"}
"""Kept small on purpose: worker processes, every model and every optional extra import them."""

# Third-party libraries that a package must not import, here or in a function.
FORBIDDEN = {
    "audit": {"pandas", "duckdb", "ibis", "numpy", "pyarrow", "ipywidgets", "matplotlib"},
    "model": {"pandas", "duckdb", "ibis", "numpy", "pyarrow", "ipywidgets", "matplotlib"},
    "cli": {"duckdb", "ibis", "cryptography", "scipy", "numpy"},
    "quality": {"openai", "anthropic", "litellm", "pandas", "duckdb", "ibis", "random", "time"},
    "engine": {"requests", "random", "time", "os", "pathlib"},
    "panel": {"pandas", "duckdb", "ibis", "numpy", "cryptography"},
}
# The panel calls the workspace through a protocol, and shows what that returns.
ALLOWED = {"panel": {"panel", "model", "display", "audit", "util"}}
# Names of the first version that standard terms have replaced.
OLD_NAMES = re.compile(
    r"\b(TouchedSince|Unsayable|told_of_waiting|in_transaction|WhichPlans|WhichEntries|Telling"
    r"|Shown[A-Z]\w+|\w+Verbs|Wiring|asked_of|unheard|believing|patience)\b"
)


def layers() -> dict[str, int]:
    """The layer of each package, the highest first, from the table in docs/architecture.md."""
    rows = re.findall(
        r"^\| [\w ]+ \| ((?:`\w+`(?:, )?)+) \|", (DOCS / "architecture.md").read_text(), re.M
    )
    return {name: -i for i, row in enumerate(rows) for name in re.findall(r"`(\w+)`", row)}


LAYERS = layers()


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports_of(path: Path, *, top_level: bool = False) -> frozenset[str]:
    """The modules that a file imports, except those for type checking only."""
    tree = ast.parse(path.read_text())
    nodes: list[ast.AST] = list(tree.body) if top_level else list(ast.walk(tree))
    skipped = {
        id(node) for test in ast.walk(tree) if _is_type_checking(test) for node in ast.walk(test)
    }
    names: set[str] = set()
    for node in nodes:
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return frozenset(names)


def _is_type_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def test_every_package_has_a_layer() -> None:
    packages = {package_of(path) for path in MODULES} - {"__init__", "__main__"}
    assert packages == LAYERS.keys()


def test_no_module_is_loose_at_the_top() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {
        "__init__.py",
        "__main__.py",
        "apply.py",
    }


def test_imports_go_down_the_layers() -> None:
    wrong = []
    for path in MODULES:
        package = package_of(path)
        if package in ("__init__", "__main__"):
            continue
        for name in imports_of(path):
            other = name.split(".")[1] if name.startswith("ttplan.") else ""
            if other not in LAYERS:  # another library, or a name at the top of the package
                continue
            below = other == package or LAYERS[other] < LAYERS[package]
            if not below or other not in ALLOWED.get(package, {other}):
                wrong.append(f"{module_of(path)} imports {name}")
    assert wrong == []


def test_packages_keep_to_their_libraries() -> None:
    roots = {path: {name.split(".")[0] for name in imports_of(path)} for path in MODULES}
    wrong = {
        module_of(path): names & FORBIDDEN.get(package_of(path), set())
        for path, names in roots.items()
    }
    assert {name: libraries for name, libraries in wrong.items() if libraries} == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {module_of(path): path for path in MODULES}
    graph = {
        name: {other for other in imports_of(path, top_level=True) if other in names} - {name}
        for name, path in names.items()
        if path.name != "__init__.py"
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_files_and_folders_have_a_handy_size() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in MODULES}
    assert [module_of(path) for path, lines in sizes.items() if lines > MAX_LINES] == []
    small = {
        module_of(path)
        for path, lines in sizes.items()
        if lines < MIN_LINES and not path.name.startswith("__")
    }
    assert small <= LIGHT
    folders = {path.parent for path in MODULES}
    assert [str(f) for f in folders if len(list(f.glob("*.py"))) > MAX_FILES] == []


def test_names_of_the_first_version_do_not_come_back() -> None:
    files = [*MODULES, *(ROOT / "tests").rglob("*.py"), *DOCS.rglob("*.md")]
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files
        if path != Path(__file__)
        for match in OLD_NAMES.finditer(path.read_text())
    }
    assert found == set()


def test_test_names_are_short() -> None:
    names = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert {name for name in names if len(name) > 60} == set()


@pytest.mark.parametrize(
    "module",
    [
        "ttplan",
        "ttplan.model.stored_plan",
        "ttplan.audit.verify.report",
        "ttplan.audit.jsonl",
        "ttplan.apply",
    ],
)
def test_lower_layers_import_without_heavy_libraries(module: str) -> None:
    heavy = [
        "pandas",
        "ipywidgets",
        "matplotlib",
        "duckdb",
        "ibis",
        "pyarrow",
        "numpy",
        "psycopg",
        "pyspark",
    ]
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({heavy}, None)); import {module}; "
        "from ttplan.store.memory import MemoryStore; MemoryStore()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_exported_name_exists() -> None:
    import ttplan

    for name in ttplan.__all__:
        assert getattr(ttplan, name) is not None
        assert name in dir(ttplan)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ttplan.nothing  # noqa: B018


def test_contract_names_are_exported() -> None:
    import ttplan

    promised = {
        *("open", "replay", "replay_table", "apply_plan", "revert_plan", "verify_chain"),
        *("verify_chain_with_anchor", "TipAnchor", "PlanInput", "PlanResult", "RequestLog"),
        *("ProposedRoute", "ModelPricing", "User", "ApiKey", "System", "Anonymous", "MemoryStore"),
        *(
            "DuckDBStore",
            "PostgresStore",
            "PlanNotFound",
            "InvalidState",
            "StoreError",
            "AuditError",
        ),
        *("ApplyError", "SeqGap", "BrokenChain", "HashMismatch", "BadSignature", "HexError"),
        *("TruncatedChain", "ForeignOrg", "Plan", "Policy", "Override", "VerifyingKey"),
        *("plots", "views"),
    }
    assert promised <= set(ttplan.__all__)


def test_listed_tests_exist() -> None:
    for test in (*FIRST_CASES, *ONLY_IN_ALL):
        path, name = test.split("::")
        assert f"def {name}(" in (TESTS / path).read_text(), test


def test_the_wheel_has_the_licence_of_each_sample() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packed = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert packed["data/LICENSE.txt"] == "ttplan/sample/LICENSE.txt"
    text = (ROOT / "data" / "LICENSE.txt").read_text()
    for name in packed:
        path = ROOT / name
        assert path.is_file()
        if path.suffix == ".parquet":
            assert path.name in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text
    assert "data/LICENSE.txt" in settings["project"]["license-files"]
