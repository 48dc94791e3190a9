"""The house stays a house: imports go down the floors only, and the lower ones do without the heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "ttplan"

# A room imports only from rooms of a lower floor, and from itself.
FLOORS: list[set[str]] = [
    {"model"},
    {"util"},
    {"audit"},
    {"logs", "prices", "store"},
    {"engine", "quality"},
    {"doctor", "gateways", "history", "policy"},
    {"apply"},
    {"operations"},
    {"display"},
    {"plots", "views"},
    {"panel"},
    {"workspace"},
    {"cli"},
    {"__main__"},
]
# What some rooms must never import, here or further down.
FORBIDDEN = {
    "audit": {"pandas", "duckdb", "ibis", "numpy", "pyarrow", "ipywidgets", "matplotlib"},
    "model": {"pandas", "duckdb", "ibis", "numpy", "pyarrow", "ipywidgets", "matplotlib"},
    "cli": {"duckdb", "ibis", "cryptography", "scipy", "numpy"},
    "quality": {"openai", "anthropic", "litellm", "pandas", "duckdb", "ibis", "random", "time"},
    "engine": {"requests", "random", "time", "os", "pathlib"},
    "panel": {"pandas", "duckdb", "ibis", "numpy", "cryptography"},
}
# What some rooms may import of ours: the panel calls a workspace's verbs (`panel/backend.py`), and shows what they give.
OURS = {"panel": {"panel", "model", "display", "audit", "util"}}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it, except for type checking only."""
    found = set()
    tree = ast.parse(path.read_text())
    skipped = {
        id(node) for test in ast.walk(tree) if _is_type_checking(test) for node in ast.walk(test)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they go"
            found.add(node.module or "")
    return found


def _is_type_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def floor_of(room: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in modules()} - {"__init__"}
    assert rooms == set().union(*FLOORS)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_the_floors_only(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    for name in imported(path):
        if name.startswith("ttplan."):
            other = name.split(".")[1]
            assert other == room or floor_of(other) < floor_of(room), f"{path} imports {name}"
            assert other in OURS.get(room, {other}), (
                f"{path} imports {name}: a {room} has no business there"
            )


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_keeps_to_its_own_libraries(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & FORBIDDEN.get(room_of(path), set())


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_grows_past_450_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 450


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
def test_the_lower_rooms_import_without_the_heavy_libraries(module: str) -> None:
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


def test_every_promised_name_is_there() -> None:
    import ttplan

    promised = [
        "open",
        "replay",
        "replay_table",
        "apply_plan",
        "revert_plan",
        "verify_chain",
        "verify_chain_with_anchor",
        "TipAnchor",
        "PlanInput",
        "PlanResult",
        "RequestLog",
        "ProposedRoute",
        "ModelPricing",
        "User",
        "ApiKey",
        "System",
        "Anonymous",
        "MemoryStore",
        "DuckDBStore",
        "PlanNotFound",
        "InvalidState",
        "StoreError",
        "AuditError",
        "ApplyError",
        "SeqGap",
        "BrokenChain",
        "HashMismatch",
        "BadSignature",
        "HexError",
        "TruncatedChain",
        "ForeignOrg",
    ]
    for name in promised:
        assert getattr(ttplan, name) is not None
        assert name in dir(ttplan)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ttplan.nothing  # noqa: B018
