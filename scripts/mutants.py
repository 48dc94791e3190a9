"""Change one thing at a time in what checks, and see whether a test notices: `make mutants`, python scripts/mutants.py [MODULE]

A mutant is a function with one comparison, condition, operator or number changed. Each is run in a fork of a process that has the
tests loaded, so that it takes the tests' own time and no more. What survives is printed: it is either a check that no test holds,
or a change that makes no difference, which docs/mutants.md says of those that are known. Exits 1 where another one survives.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import io
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
AUDIT, TESTS = "ttplan.audit", "tests/audit"
# What checks, and the tests that hold it beside the corpus of chains, the quick ones first.
MODULES: dict[str, tuple[str, ...]] = {
    "entry": ("test_fork.py", "test_chain.py"),
    "walk": ("test_since.py", "test_rotation.py", "test_chain.py"),
    "verify": ("test_since.py", "test_rotation.py", "test_chain.py"),
    "check": ("test_since.py", "test_rotation.py", "test_chain.py", "test_fork.py"),
    "chain": ("test_jsonl.py", "test_chain.py"),
    "canonical": ("test_canonical.py",),
    "canonical_line": ("test_canonical_line.py",),
    "jsonl": ("test_jsonl.py", "test_since.py"),
    "strict_json": ("test_jsonl.py",),
    "merkle": ("test_merkle.py",),
    "proof": ("test_proof.py",),
    "note": ("test_note.py", "test_tlog.py"),
    "tree_head": ("test_note.py", "test_tlog.py"),
    "tlog": ("test_tlog.py", "test_witness.py"),
    "policy": ("test_policy.py",),
    "customer": ("test_customer.py",),
    "disclosure": ("test_disclosure.py",),
    "rotation": ("test_rotation.py", "test_since.py"),
    "fork": ("test_fork.py",),
    "ed25519": ("test_keys.py", "test_ed25519_edges.py"),
    "resume": ("test_since.py",),
    "lost_digit": ("test_since.py",),
}
TIMEOUT = 120
_SWAPS: dict[type[Any], type[Any]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip


class Mutant(NamedTuple):
    """A change of a module: where, from what to what, and all of it as it is then."""

    line: int
    old: str
    new: str
    tree: ast.Module

    def key(self, module: str) -> str:
        """How it is called where it is known, wherever its line moves to."""
        return f"{module}: {self.old} -> {self.new}"


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module's functions. Messages and annotations stay as they are."""
    count = sum(1 for _ in _places(ast.parse(source)))
    for number in range(count):
        for variant in range(3):
            tree = ast.parse(source)
            node, parents = next(place for index, place in enumerate(_places(tree)) if index == number)
            shown = copy.deepcopy(node)
            if not _change(node, variant):
                break
            around = next((one for one in reversed(parents) if isinstance(one, ast.stmt)), node)
            old, new = _told(shown), _told(node)
            yield Mutant(getattr(node, "lineno", getattr(around, "lineno", 0)), old, new, ast.fix_missing_locations(tree))


def _told(node: ast.AST) -> str:
    text = ast.unparse(node).split("\n")[0]
    return text if len(text) <= 110 else text[:107] + "..."


def _places(tree: ast.Module) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    """The nodes in functions that can be changed, with what they stand in."""

    def walk(node: ast.AST, parents: list[ast.AST]) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
        if isinstance(node, ast.JoinedStr | ast.arguments) or _is_docstring(node):
            return
        if any(isinstance(one, ast.FunctionDef) for one in parents):
            yield node, parents
        for name, child in ast.iter_fields(node):
            if name in ("returns", "annotation", "decorator_list"):
                continue
            for one in child if isinstance(child, list) else [child]:
                if isinstance(one, ast.AST):
                    yield from walk(one, [*parents, node])

    yield from walk(tree, [])


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _change(node: ast.AST, variant: int) -> bool:
    """Change a node; False where it has no such change."""
    if isinstance(node, ast.If | ast.IfExp | ast.While) and variant < 2:
        node.test = ast.Constant(variant == 0)
        return not (isinstance(node, ast.While) and variant == 0)
    if variant > 0:
        return False
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
        node.ops[0] = _SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in _SWAPS:
        node.op = _SWAPS[type(node.op)]()
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        node.value += 1
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        node.value = not node.value
    else:
        return False
    return True


def install(module: Any, tree: ast.Module) -> None:
    """Put a mutant's code into the functions that are there, so that whoever imported one has the mutant, too."""
    code = compile(tree, module.__file__, "exec")
    for owner, name, found in _functions(module):
        new = _code_of(code, f"{owner}.{name}" if owner else name)
        if new is not None and len(new.co_freevars) == len(found.__code__.co_freevars):
            found.__code__ = new


def _functions(module: Any) -> Iterator[tuple[str, str, FunctionType]]:
    for name, value in vars(module).items():
        if isinstance(value, FunctionType) and value.__module__ == module.__name__:
            yield "", value.__name__, value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for inner in vars(value).values():
                one = getattr(inner, "__func__", getattr(inner, "fget", inner))
                if isinstance(one, FunctionType) and one.__module__ == module.__name__:
                    yield name, one.__name__, one


def _code_of(code: CodeType, qualified: str) -> CodeType | None:
    for part in qualified.split("."):
        inner = [one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == part]
        if not inner:
            return None
        code = inner[0]
    return code


def is_noticed(module: Any, tree: ast.Module, tests: list[str]) -> bool:
    """Whether a test fails, or takes too long, with a mutant in place."""
    child = os.fork()
    if child == 0:
        signal.alarm(TIMEOUT)
        code = 1
        try:
            install(module, tree)
            code = int(_corpus_notices()) or run(tests)
        finally:  # whatever was raised, noticed
            os._exit(1 if code else 0)
    _, status = os.waitpid(child, 0)
    return status != 0


def _corpus_notices() -> bool:
    """Whether the corpus of chains gets other verdicts than it should: the quickest way to notice most mutants."""
    from tests.audit.corpus import read
    from tests.audit.test_corpus import library

    return any(library(case) != case.verdict for case in read().values())


def run(tests: list[str]) -> int:
    """The exit code of the tests; what they print is not shown."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]))


def known() -> set[str]:
    """The mutants that make no difference, as docs/mutants.md lists them."""
    page = ROOT / "docs" / "mutants.md"
    return set(re.findall(r"^- `([^`]+)`", page.read_text(), re.MULTILINE)) if page.exists() else set()


def survivors(name: str) -> list[Mutant]:
    """The mutants of a module that no test notices."""
    module = importlib.import_module(f"{AUDIT}.{name}")
    tests = [str(ROOT / TESTS / test) for test in MODULES[name]]
    if run(tests):
        raise SystemExit(f"the tests of {name} fail as they are: {' '.join(tests)}")
    began, found, count = time.monotonic(), [], 0
    for mutant in mutants(Path(module.__file__ or "").read_text()):
        count += 1
        if not is_noticed(module, mutant.tree, tests):
            found.append(mutant)
            print(f"  {name}.py:{mutant.line}  {mutant.old}  ->  {mutant.new}", flush=True)
    print(f"{name}: {len(found)} of {count} survive, {time.monotonic() - began:,.0f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Change what checks, one thing at a time, and see whether a test notices.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}; all where left out")
    asked = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    accepted, others = known(), 0
    for name in asked.modules or MODULES:
        if name not in MODULES:
            raise SystemExit(f"there is no module {name}; expected one of {', '.join(MODULES)}")
        others += sum(mutant.key(name) not in accepted for mutant in survivors(name))
    if others:
        raise SystemExit(f"{others} survive that docs/mutants.md does not know")


if __name__ == "__main__":
    main()
