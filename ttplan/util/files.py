"""Small files, bounded; YAML that people write, without repeated keys or aliases that could grow. And writing such files."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from pydantic import ValidationError

from ttplan.model.errors import InputError

MAX_BYTES = 4 * 2**20


class _Loader(yaml.SafeLoader):
    """Plain YAML that refuses what is ambiguous or could explode."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="aliases are not used here", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is no text", problem_mark=key_node.start_mark
                )
            if key in keys:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark
                )
            keys.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back the same."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Text as it is; where it has a line break that only YAML knows, in the one style that escapes it."""
        return self.represent_scalar(
            "tag:yaml.org,2002:str", text, style='"' if _BREAKS.search(text) else None
        )


_BREAKS = re.compile("[\x85\u2028\u2029]")
_Dumper.add_representer(str, _Dumper.represent_text)

# A number such as 1e-3 is a float to people; YAML 1.1 wants a dot in it. Text that looks like one is written in quotes.
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+\Z"), list("-+0123456789")
    )


def read_small_file(path: str | os.PathLike[str], what: str, *, limit: int) -> bytes:
    """The bytes of a file of at most `limit`. Raises InputError, naming the file, where it cannot be read or has more."""
    file = Path(path)
    try:
        with file.open("rb") as opened:
            data = opened.read(limit + 1)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{file}: {reason}; expected {what}") from None
    if len(data) > limit:
        raise InputError(f"{file} has more than {limit:,} bytes; expected {what}")
    return data


def read_yaml(path: str | os.PathLike[str], what: str) -> Any:
    """The content of a YAML (or JSON) file. Raises InputError, naming file and line, where it cannot be read as one."""
    file = Path(path)
    data = read_small_file(file, f"{what} in YAML", limit=MAX_BYTES)
    try:
        return yaml.load(data, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise InputError(f"{file}{where}: {error.problem}; expected {what} in YAML") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file} is not YAML ({type(error).__name__}); expected {what}") from None


def format_yaml(content: Any) -> str:
    """Plain data (dicts with text keys, lists, text, numbers, booleans, None) as YAML that `read_yaml` reads back the same."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A file to write to that appears under its name whole, when the block ends, or, after an error, not at all.

    Raises InputError where there is one already, unless `overwrite`, or where it cannot be written.
    """
    target = Path(path)
    if (
        os.path.exists(target) and not overwrite
    ):  # Path.exists raises where a folder may not be entered
        raise InputError(f"{target} exists already; choose another path, or say to overwrite it")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        _keep_name(target.parent)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written: {error.strerror}; choose a folder that this user may write"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def remove_temporary_files(path: str | os.PathLike[str], *, older_than: float = 60.0) -> None:
    """Remove what processes that were killed left of a `atomic_write`: drafts that nobody wrote to for so many seconds."""
    target = Path(path)
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.new")
    with suppress(OSError):  # whatever is wrong with the folder, writing to it says so
        for found in os.scandir(target.parent):
            if name.fullmatch(found.name) and time.time() - found.stat().st_mtime > older_than:
                os.unlink(found)


def file_exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file. Raises InputError where that cannot be seen, as in a folder that this user may not enter."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            f"{os.fspath(path)} cannot be looked at: {reason}; choose a path that this user may use"
        ) from None
    return True


def _keep_name(folder: Path) -> None:
    """Have the disk keep that a file was renamed in a folder, too, where the system can be asked for that."""
    with suppress(
        OSError
    ):  # the file is there, whole; what a loss of power can undo is its new name
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def describe_validation_error(error: ValidationError) -> str:
    """The first thing that is wrong with a value, as one line: where, what was found, what was expected."""
    first = error.errors(include_url=False)[0]
    where = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]
    ).lstrip(".")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "this key is not known"
    elif first["type"] == "missing":
        message = "this key is missing"
    found = first.get("input")
    shown = (
        ""
        if first["type"] in ("missing", "extra_forbidden") or isinstance(found, dict | list)
        else f", found {found!r:.60}"
    )
    more = error.error_count() - 1
    return f"{where or 'the whole'}: {message}{shown}" + (f" (and {more} more)" if more else "")
