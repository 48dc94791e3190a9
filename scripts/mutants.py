"""Change one thing at a time in `ttplan.audit`, and print which changes no test notices.

python scripts/mutants.py [MODULE...]

A mutant is a function with one comparison, condition, operator, constant or statement changed. Each
runs in a fork of a process that has the tests loaded, so it takes no longer than the tests
themselves. A mutant that survives is either a check without a test or a change that makes no
difference.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple, TextIO

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
AUDIT, TESTS = "ttplan.audit", "tests/audit"
MODULES: dict[str, tuple[str, ...]] = {
    "canonical": ("test_canonical.py",),
    "canonical_line": ("test_canonical_line.py", "verify/test_segment.py"),
    "entries": ("test_entries.py", "verify/test_chain.py", "test_jsonl.py"),
    "entry_checks": ("test_equivocation.py", "verify/test_chain.py"),
    "equivocation": ("test_equivocation.py",),
    "jsonl": ("test_jsonl.py", "verify/test_since.py", "verify/test_segment.py"),
    "lost_digit": ("test_lost_digit.py",),
    "merkle": ("test_merkle.py",),
    "rotation": ("test_rotation.py", "verify/test_since.py"),
    "standalone": ("keys/test_keys.py", "test_corpus.py"),
    "strict_json": ("test_jsonl.py",),
    "c2sp.checkpoint": ("c2sp/test_note.py", "c2sp/test_tlog.py"),
    "c2sp.note": ("c2sp/test_note.py", "c2sp/test_tlog.py"),
    "c2sp.tlog": ("c2sp/test_tlog.py", "c2sp/test_witness.py"),
    "c2sp.trust_policy": ("c2sp/test_trust_policy.py",),
    "c2sp.witness": ("c2sp/test_witness.py",),
    "keys.ed25519": ("keys/test_keys.py", "keys/test_ed25519_edges.py", "verify/test_workers.py"),
    "keys.key_files": ("keys/test_keys.py",),
    "keys.signer": ("keys/test_signer.py",),
    "proofs.anchors": ("proofs/test_anchors.py",),
    "proofs.customer_checkpoint": ("proofs/test_customer_checkpoint.py",),
    "proofs.disclosure": ("proofs/test_disclosure.py",),
    "proofs.inclusion": ("proofs/test_inclusion.py",),
    "verify.chain": (
        "verify/test_since.py",
        "test_rotation.py",
        "verify/test_chain.py",
        "verify/test_workers.py",
        "verify/test_segment.py",
    ),
    "verify.file": ("verify/test_reporting.py", "verify/test_resume.py", "verify/test_segment.py"),
    "verify.options": ("verify/test_reporting.py", "verify/test_resume.py", "test_rotation.py"),
    "verify.parallel": ("verify/test_segment.py",),
    "verify.report": ("verify/test_reporting.py",),
    "verify.reporting": ("verify/test_reporting.py", "verify/test_since.py", "test_rotation.py"),
    "verify.require": ("verify/test_require.py",),
    "verify.resume": ("verify/test_resume.py",),
    "verify.segment": ("verify/test_segment.py",),
    "verify.walker": (
        "verify/test_since.py",
        "test_equivocation.py",
        "test_rotation.py",
        "verify/test_chain.py",
        "verify/test_segment.py",
    ),
    "verify.workers": ("verify/test_workers.py", "verify/test_segment.py"),
}
"""Modules of `ttplan.audit` and the tests of each, quick ones first. The corpus tests all."""
_SWAPS: dict[type[Any], type[Any]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip
_NOT_IN_PLACE = 77
_SHOWN = 110


class Mutant(NamedTuple):
    """A change of a module: its function and line, the old and the new code, and the new module."""

    function: str
    line: int
    old: str
    new: str
    code: CodeType


class _Place(NamedTuple):
    """A node, its parents (outermost first), and a function that replaces it."""

    node: ast.AST
    parents: list[ast.AST]
    put: Callable[[ast.AST], None]


def mutants(source: str, file: str) -> Iterator[Mutant]:
    """Yield every mutant of a module's functions. Messages and annotations do not change."""
    tree = ast.parse(source)
    for node, parents, put in list(_places(tree)):
        function = ".".join(
            parent.name for parent in parents if isinstance(parent, ast.FunctionDef | ast.ClassDef)
        )
        for new in _changes(node, parents[-1]):
            context = _context(node, parents)
            old = _description(context)
            put(ast.copy_location(new, node))
            code = compile(ast.fix_missing_locations(tree), file, "exec")
            description = _description(new if context is node else context)
            put(node)
            yield Mutant(function, getattr(node, "lineno", 0), old, description, code)


def _context(node: ast.AST, parents: list[ast.AST]) -> ast.AST:
    """Return the largest short expression around a node, since `2 -> 3` alone says little."""
    kinds = ast.expr | ast.keyword | ast.comprehension | ast.Return | ast.Assign
    for parent in reversed(parents):
        if (
            isinstance(node, ast.stmt)
            or not isinstance(parent, kinds)
            or len(ast.unparse(parent)) > 75
        ):
            break
        node = parent
    return node


def _description(node: ast.AST) -> str:
    text = ast.unparse(node).split("\n")[0]
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _places(tree: ast.Module) -> Iterator[_Place]:
    """Yield the nodes in functions."""

    def walk(
        node: ast.AST, parents: list[ast.AST], put: Callable[[ast.AST], None]
    ) -> Iterator[_Place]:
        if isinstance(node, ast.JoinedStr | ast.arguments) or _is_docstring(node):
            return
        if any(isinstance(parent, ast.FunctionDef) for parent in parents):
            yield _Place(node, parents, put)
        for name, child in ast.iter_fields(node):
            if name in ("returns", "annotation", "decorator_list"):
                continue
            for index, item in enumerate(child) if isinstance(child, list) else [(None, child)]:
                if isinstance(item, ast.AST):
                    yield from walk(item, [*parents, node], _putter(node, name, index))

    yield from walk(tree, [], lambda _: None)


def _putter(parent: ast.AST, name: str, index: int | None) -> Callable[[ast.AST], None]:
    def put(new: ast.AST) -> None:
        if index is None:
            setattr(parent, name, new)
        else:
            getattr(parent, name)[index] = new

    return put


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes(node: ast.AST, parent: ast.AST) -> Iterator[ast.AST]:
    """Yield replacements of a node: a check's opposite or nothing, a number's successor."""
    if isinstance(node, ast.If | ast.IfExp):
        yield _with(node, test=ast.Constant(True))
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield _with(node, test=ast.Constant(False))
    elif isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            if type(op) in _SWAPS:
                yield _with(
                    node, ops=[*node.ops[:index], _SWAPS[type(op)](), *node.ops[index + 1 :]]
                )
    elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in _SWAPS:
        yield _with(node, op=_SWAPS[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value, parent)
    elif _can_be_left_out(node):
        yield ast.Pass()


def _constants(value: object, parent: ast.AST) -> Iterator[ast.AST]:
    if type(value) is bool:
        yield ast.Constant(not value)
    elif type(value) is int:
        yield ast.Constant(value + 1)
    elif isinstance(value, bytes):
        yield ast.Constant(value + b"x")
    elif isinstance(value, str) and isinstance(parent, ast.Compare | ast.BinOp | ast.Subscript):
        yield ast.Constant(value + "x")


def _can_be_left_out(node: ast.AST) -> bool:
    """Return whether the code after a statement still makes sense without it."""
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets)
    if isinstance(node, ast.Return):
        return node.value is None
    return isinstance(node, ast.Raise | ast.Expr | ast.Continue | ast.Break | ast.AugAssign)


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    return type(node)(**{**dict(ast.iter_fields(node)), **fields})


def install(module: Any, code: CodeType) -> bool:
    """Put a mutant's code into the existing functions, so that modules that imported them use it.

    Returns False if no function changed.
    """
    changed = False
    for owner, name, function in _functions(module):
        new = _code_of(code, f"{owner}.{name}" if owner else name)
        if new is None or new == function.__code__:
            continue
        changed = True
        if len(new.co_freevars) == len(function.__code__.co_freevars):
            function.__code__ = new
        else:  # it does not use the class any more
            cells = dict(
                zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
            )
            closure = tuple(cells[name] for name in new.co_freevars)
            setattr(
                vars(module)[owner],
                name,
                FunctionType(new, function.__globals__, name, function.__defaults__, closure),
            )
    for value in vars(module).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()
    return changed


def _functions(module: Any) -> Iterator[tuple[str, str, FunctionType]]:
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == module.__name__:
            for inner in vars(value).values():
                function = inspect.unwrap(getattr(inner, "__func__", getattr(inner, "fget", inner)))
                if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                    yield name, function.__name__, function
        elif (
            callable(value)
            and isinstance(function := inspect.unwrap(value), FunctionType)
            and function.__module__ == module.__name__
        ):
            yield "", function.__name__, function


def _code_of(code: CodeType, qualified: str) -> CodeType | None:
    for part in qualified.split("."):
        inner = [
            const
            for const in code.co_consts
            if isinstance(const, CodeType) and const.co_name == part
        ]
        if not inner:
            return None
        code = inner[0]
    return code


def _start(module: Any, code: CodeType, session: pytest.Session, seconds: int) -> int:
    """Try a mutant in a child. Its exit status is 0 only if all tests pass in time."""
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        status = 1
        try:
            status = (
                (_corpus_notices(module) or _fails(session))
                if install(module, code)
                else _NOT_IN_PLACE
            )
        finally:  # a mutant that raises is noticed
            os._exit(int(status))
    return child


def _corpus_notices(module: Any) -> bool:
    """Return whether the corpus of chains gets wrong verdicts: the quickest test."""
    from tests.audit.corpus import read
    from tests.audit.test_corpus import library, one_file

    verdict = one_file if module.__name__ == f"{AUDIT}.standalone" else library
    return any(verdict(case) != case.verdict for case in read().values())


def _fails(session: pytest.Session) -> bool:
    """Return whether a test fails. The tests after it do not run."""
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return True
    return False


class _Loop:
    """Replaces pytest's loop over the loaded tests: runs them once, and once with each mutant."""

    def __init__(self, name: str, jobs: int, out: TextIO) -> None:
        self.name, self.jobs, self.out = name, jobs, out
        self.survivors = -1
        self._children: dict[int, Mutant] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        module = importlib.import_module(f"{AUDIT}.{self.name}")
        began = time.monotonic()
        if session.testsfailed or _fails(session) or _corpus_notices(module):
            return True
        seconds = 10 + int(5 * (time.monotonic() - began))
        began, count, self.survivors = time.monotonic(), 0, 0
        for mutant in mutants(Path(module.__file__ or "").read_text(), module.__file__ or ""):
            count += 1
            self._children[_start(module, mutant.code, session, seconds)] = mutant
            if len(self._children) >= self.jobs:
                self._wait()
        while self._children:
            self._wait()
        print(
            f"{self.name}: {self.survivors} of {count} survive, {time.monotonic() - began:,.0f} s",
            file=self.out,
            flush=True,
        )
        return True

    def _wait(self) -> None:
        child, status = os.wait()
        mutant, code = self._children.pop(child), os.waitstatus_to_exitcode(status)
        if code in (0, _NOT_IN_PLACE):
            self.survivors += 1
            note = "" if code == 0 else "  (could not be installed)"
            change = f"{mutant.function}: {mutant.old} -> {mutant.new}{note}"
            print(f"  {self.name}:{mutant.line} {change}", file=self.out, flush=True)


def count_survivors(name: str, jobs: int) -> int:
    """Print the mutants of a module that no test notices, and return how many there are."""
    tests = [str(ROOT / TESTS / test) for test in MODULES[name]]
    # Hypothesis is imported before pytest rewrites it, to load a profile.
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    with os.fdopen(os.dup(1), "w") as out, open(os.devnull, "w") as nowhere:
        loop = _Loop(name, jobs, out)
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            pytest.main([*options, *tests], plugins=[loop])
    if loop.survivors < 0:
        raise SystemExit(f"the tests of {name} fail without a mutant: {' '.join(tests)}")
    return loop.survivors


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Change one thing at a time, and print which changes no test notices."
    )
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help=f"one of {', '.join(MODULES)} (default: all)"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="parallel processes (default: one per core)",
    )
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    settings.register_profile(
        "mutants", derandomize=True, database=None, deadline=None, max_examples=40
    )
    settings.load_profile("mutants")
    total = 0
    for name in arguments.modules or MODULES:
        if name not in MODULES:
            raise SystemExit(f"there is no module {name}; expected one of {', '.join(MODULES)}")
        total += count_survivors(name, arguments.jobs)
    print(f"total: {total} survive")


if __name__ == "__main__":
    main()
