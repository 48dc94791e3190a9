"""Change one thing at a time in what checks, and see whether a test notices: `make mutants`, python
scripts/mutants.py [MODULE]

A mutant is a function with one comparison, condition, operator, constant or statement changed. Each
is run in a fork of a process that has the tests loaded, so that it takes the tests' own time and no
more. What survives is printed: it is either a check that no test holds, or a change that makes no
difference, which docs/mutants.md says of those that are known. Exits 1 where another one survives.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import inspect
import os
import re
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
# What checks, and the tests that hold it beside the corpus of chains, the quick ones first.
MODULES: dict[str, tuple[str, ...]] = {
    "entry": ("test_fork.py", "test_chain.py"),
    "walk": (
        "test_since.py",
        "test_fork.py",
        "test_rotation.py",
        "test_chain.py",
        "test_stretch.py",
    ),
    "verify": (
        "test_since.py",
        "test_rotation.py",
        "test_chain.py",
        "test_helpers.py",
        "test_stretch.py",
    ),
    "check": (
        "test_check.py",
        "test_since.py",
        "test_rotation.py",
        "test_chain.py",
        "test_fork.py",
    ),
    "chain": ("test_jsonl.py", "test_chain.py"),
    "canonical": ("test_canonical.py",),
    "canonical_line": ("test_canonical_line.py", "test_stretch.py"),
    "jsonl": ("test_jsonl.py", "test_since.py", "test_stretch.py"),
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
    "ed25519": ("test_keys.py", "test_ed25519_edges.py", "test_helpers.py"),
    "resume": ("test_since.py",),
    "lost_digit": ("test_since.py",),
    "anchors": ("test_anchors.py",),
    "believing": ("test_believing.py",),
    "keys": ("test_keys.py",),
    "signer": ("test_signer.py",),
    "command": ("test_signer.py",),
    "helpers": ("test_helpers.py", "test_stretch.py"),
    "stretch": ("test_stretch.py",),
    "bulk": ("test_stretch.py",),
    "standalone": ("test_keys.py", "test_corpus.py"),
    "witness_http": ("test_witness.py",),
}
_SWAPS: dict[type[Any], type[Any]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip
_NOT_IN_PLACE = 77
_SHOWN = 110


class Mutant(NamedTuple):
    """A change of a module: in which function and line, from what to what, and all of the module as
    it is then.
    """

    function: str
    line: int
    old: str
    new: str
    code: CodeType

    def key(self, module: str) -> str:
        """How it is called where it is known, wherever its line moves to."""
        return f"{module}.{self.function}: {self.old} -> {self.new}"


class _Place(NamedTuple):
    """A node, what it stands in (outermost first), and what puts another one in its place."""

    node: ast.AST
    parents: list[ast.AST]
    put: Callable[[ast.AST], None]


def mutants(source: str, file: str) -> Iterator[Mutant]:
    """Every mutant of a module's functions. Messages and annotations stay as they are."""
    tree = ast.parse(source)
    for node, parents, put in list(_places(tree)):
        function = ".".join(
            one.name for one in parents if isinstance(one, ast.FunctionDef | ast.ClassDef)
        )
        for new in _changes(node, parents[-1]):
            around = _around(node, parents)
            old = _description(around)
            put(ast.copy_location(new, node))
            code = compile(ast.fix_missing_locations(tree), file, "exec")
            description = _description(new if around is node else around)
            put(node)
            yield Mutant(function, getattr(node, "lineno", 0), old, description, code)


def _around(node: ast.AST, parents: list[ast.AST]) -> ast.AST:
    """The largest expression about a node that is shown as a whole, since `2 -> 3` says little."""
    for one in reversed(parents):
        kinds = ast.expr | ast.keyword | ast.comprehension | ast.Return | ast.Assign
        if isinstance(node, ast.stmt) or not isinstance(one, kinds) or len(ast.unparse(one)) > 75:
            break
        node = one
    return node


def _description(node: ast.AST) -> str:
    text = ast.unparse(node).split("\n")[0]
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _places(tree: ast.Module) -> Iterator[_Place]:
    """The nodes in functions."""

    def walk(
        node: ast.AST, parents: list[ast.AST], put: Callable[[ast.AST], None]
    ) -> Iterator[_Place]:
        if isinstance(node, ast.JoinedStr | ast.arguments) or _is_docstring(node):
            return
        if any(isinstance(one, ast.FunctionDef) for one in parents):
            yield _Place(node, parents, put)
        for name, child in ast.iter_fields(node):
            if name in ("returns", "annotation", "decorator_list"):
                continue
            for index, one in enumerate(child) if isinstance(child, list) else [(None, child)]:
                if isinstance(one, ast.AST):
                    yield from walk(one, [*parents, node], _putter(node, name, index))

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
    """What may stand in a node's place: of a check the opposite or nothing, of a number the next
    one.
    """
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
    """Whether a statement may be gone and what is after it still makes sense."""
    if isinstance(node, ast.Assign):
        return all(isinstance(one, ast.Attribute | ast.Subscript) for one in node.targets)
    if isinstance(node, ast.Return):
        return node.value is None
    return isinstance(node, ast.Raise | ast.Expr | ast.Continue | ast.Break | ast.AugAssign)


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    return type(node)(**{**dict(ast.iter_fields(node)), **fields})


def install(module: Any, code: CodeType) -> bool:
    """Put a mutant's code into the functions that are there, so that whoever imported one has the
    mutant, too. False where none of them is another one then.
    """
    changed = False
    for owner, name, found in _functions(module):
        new = _code_of(code, f"{owner}.{name}" if owner else name)
        if new is None or new == found.__code__:
            continue
        changed = True
        if len(new.co_freevars) == len(found.__code__.co_freevars):
            found.__code__ = new
        else:  # what it had of the class is not needed any more
            cells = dict(zip(found.__code__.co_freevars, found.__closure__ or (), strict=True))
            closure = tuple(cells[one] for one in new.co_freevars)
            setattr(
                vars(module)[owner],
                name,
                FunctionType(new, found.__globals__, name, found.__defaults__, closure),
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
        inner = [one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == part]
        if not inner:
            return None
        code = inner[0]
    return code


def _start(module: Any, code: CodeType, session: pytest.Session, seconds: int) -> int:
    """Try a mutant in a child: its exit status is not 0 where a test fails, or takes too long."""
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
        finally:  # whatever was raised, noticed
            os._exit(int(status))
    return child


def _corpus_notices(module: Any) -> bool:
    """Whether the corpus of chains gets other verdicts than it should: the quickest way to notice
    most mutants.
    """
    from tests.audit.corpus import read
    from tests.audit.test_corpus import library, one_file

    verdict = one_file if module.__name__ == f"{AUDIT}.standalone" else library
    return any(verdict(case) != case.verdict for case in read().values())


def _fails(session: pytest.Session) -> bool:
    """Whether one of the tests fails; those after it are not run."""
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return True
    return False


class _Loop:
    """In place of pytest's own loop over the tests, which it has loaded: once as they are, and once
    with each mutant.
    """

    def __init__(self, name: str, jobs: int, accepted: set[str], out: TextIO) -> None:
        self.name, self.jobs, self.accepted, self.out = name, jobs, accepted, out
        self.found = -1
        self._children: dict[int, Mutant] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        module = importlib.import_module(f"{AUDIT}.{self.name}")
        began = time.monotonic()
        if session.testsfailed or _fails(session) or _corpus_notices(module):
            return True
        seconds = 10 + int(5 * (time.monotonic() - began))
        began, count, self.found = time.monotonic(), 0, 0
        for mutant in mutants(Path(module.__file__ or "").read_text(), module.__file__ or ""):
            count += 1
            self._children[_start(module, mutant.code, session, seconds)] = mutant
            if len(self._children) >= self.jobs:
                self._wait()
        while self._children:
            self._wait()
        print(
            f"{self.name}: {self.found} of {count} survive, {time.monotonic() - began:,.0f} s",
            file=self.out,
            flush=True,
        )
        return True

    def _wait(self) -> None:
        child, status = os.wait()
        mutant, code = self._children.pop(child), os.waitstatus_to_exitcode(status)
        if code in (0, _NOT_IN_PLACE) and mutant.key(self.name) not in self.accepted:
            self.found += 1
            note = "" if code == 0 else "  (could not be put in place)"
            print(
                f"  {self.name}.py:{mutant.line}  `{mutant.key(self.name)}`{note}",
                file=self.out,
                flush=True,
            )


def known() -> set[str]:
    """The mutants that make no difference, as docs/mutants.md lists them."""
    return set(
        re.findall(r"^- `([^`]+)`", (ROOT / "docs" / "mutants.md").read_text(), re.MULTILINE)
    )


def survivors(name: str, jobs: int, accepted: set[str]) -> int:
    """How many mutants of a module no test notices that are not accepted; they are printed."""
    tests = [str(ROOT / TESTS / test) for test in MODULES[name]]
    # That Hypothesis is there already is meant: its profile is.
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    with os.fdopen(os.dup(1), "w") as out, open(os.devnull, "w") as nowhere:
        loop = _Loop(name, jobs, accepted, out)
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            pytest.main([*options, *tests], plugins=[loop])
    if loop.found < 0:
        raise SystemExit(f"the tests of {name} fail as they are: {' '.join(tests)}")
    return loop.found


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Change what checks, one thing at a time, and see whether a test notices."
    )
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}; all where left out"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="so many at a time; all cores where left out",
    )
    asked = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    settings.register_profile(
        "mutants", derandomize=True, database=None, deadline=None, max_examples=40
    )
    settings.load_profile("mutants")
    accepted, others = known(), 0
    for name in asked.modules or MODULES:
        if name not in MODULES:
            raise SystemExit(f"there is no module {name}; expected one of {', '.join(MODULES)}")
        others += survivors(name, asked.jobs, accepted)
    if others:
        raise SystemExit(f"{others} survive that docs/mutants.md does not know")


if __name__ == "__main__":
    main()
