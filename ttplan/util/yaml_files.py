"""YAML that people write: without repeated keys, and without aliases, which could expand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ttplan.model.errors import InputError
from ttplan.util.files import read_small_file
from ttplan.util.paths import PathLike

MAX_BYTES = 4 * 2**20
_YAML_LINE_BREAKS = re.compile("[\x85\u2028\u2029]")


class _Loader(yaml.SafeLoader):
    """Safe YAML without ambiguous or expanding constructs."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="aliases are not supported", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is not text", problem_mark=key_node.start_mark
                )
            if key in keys:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} appears twice", problem_mark=key_node.start_mark
                )
            keys.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back unchanged."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Write text, in the one style that escapes line breaks known only to YAML."""
        style = '"' if _YAML_LINE_BREAKS.search(text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)

# People read 1e-3 as a float, but YAML 1.1 requires a dot. Text that looks like one is quoted.
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+\Z"), list("-+0123456789")
    )


def read_yaml(path: PathLike, what: str) -> Any:
    """Return the content of a YAML or JSON file. Raises InputError that names file and line."""
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
    """Return plain data (dicts with text keys, lists, scalars) as YAML that `read_yaml` reads."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def describe_validation_error(error: ValidationError) -> str:
    """Return the first problem as one line: where, what was found, what was expected."""
    first = error.errors(include_url=False)[0]
    where = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]
    ).lstrip(".")
    value = first.get("input")
    shown = "" if isinstance(value, dict | list) else f", found {value!r:.60}"
    message = first["msg"].removeprefix("Value error, ") + shown
    if first["type"] == "extra_forbidden":
        message = "this key is not known"
    elif first["type"] == "missing":
        message = "this key is missing"
    more = error.error_count() - 1
    return f"{where or 'the whole'}: {message}" + (f" (and {more} more)" if more else "")
