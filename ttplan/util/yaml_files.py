"""YAML 1.2 (core schema) that people write: without repeated keys, and without aliases, which could
expand."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ttplan.model.errors import InputError
from ttplan.util.files import read_small_file
from ttplan.util.paths import PathLike

MAX_BYTES = 4 * 2**20
_INVISIBLE = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Line breaks known only to YAML, and characters that change the writing direction or hide."""


_TAG = "tag:yaml.org,2002:"
_CORE_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z"
)
_CORE_INT = re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_CORE_SCHEMA = (
    (f"{_TAG}null", re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    (f"{_TAG}bool", re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    (f"{_TAG}int", _CORE_INT, list("-+0123456789")),
    (f"{_TAG}float", _CORE_FLOAT, list("-+.0123456789")),
)
"""What plain scalars mean in YAML 1.2 (section 10.3.2): everything else is text."""
_MAX_DIGITS = 100


class _Loader(yaml.SafeLoader):
    """Safe YAML 1.2 (core schema) without ambiguous or expanding constructs."""

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
                raise _error(key_node, f"the key {key!r:.60} is not text")
            if key in keys:
                raise _error(key_node, f"the key {key!r:.60} appears twice")
            keys.add(key)
        # Not that of SafeLoader, which merges `<<`: in YAML 1.2 it is a key like any other.
        return yaml.constructor.BaseConstructor.construct_mapping(self, node, deep)

    def construct_text(self, node: yaml.ScalarNode) -> str:
        """Read text. A pair of surrogates, as JSON escapes it, is one character."""
        text = str(node.value)
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            raise _error(node, "a lone surrogate is not a character") from None

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Read a whole number: decimal, `0o17` or `0x1f`."""
        text = str(node.value)
        if _CORE_INT.match(text) is None or len(text) > _MAX_DIGITS:
            raise _error(node, f"{text[:60]!r} is not a whole number of at most 100 digits")
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))

    def construct_number(self, node: yaml.ScalarNode) -> float:
        """Read a float. `1e999` is not one."""
        text = str(node.value).lower()
        named = text.lstrip("-+") in (".inf", ".nan")
        if _CORE_FLOAT.match(str(node.value)) is None or len(text) > _MAX_DIGITS:
            raise _error(node, f"{text[:60]!r} is not a number of at most 100 digits")
        value = float(text.replace(".inf", "inf").replace(".nan", "nan") if named else text)
        if math.isinf(value) and not named:
            raise _error(node, f"the number {text[:60]} is too large")
        return value

    def construct_truth(self, node: yaml.ScalarNode) -> bool:
        """Read true or false."""
        text = str(node.value)
        if text.lower() not in ("true", "false"):
            raise _error(node, f"{text[:60]!r} is neither true nor false")
        return text.lower() == "true"

    def refuse_tag(self, node: yaml.Node) -> None:
        """Refuse anything with a tag outside the core schema."""
        raise _error(node, f"the tag {str(node.tag)[:60]!r} is not supported")


def _error(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {
    f"{_TAG}null": yaml.SafeLoader.yaml_constructors[f"{_TAG}null"],
    f"{_TAG}bool": _Loader.construct_truth,
    f"{_TAG}int": _Loader.construct_integer,
    f"{_TAG}float": _Loader.construct_number,
    f"{_TAG}str": _Loader.construct_text,
    f"{_TAG}seq": yaml.SafeLoader.yaml_constructors[f"{_TAG}seq"],
    f"{_TAG}map": yaml.SafeLoader.yaml_constructors[f"{_TAG}map"],
    None: _Loader.refuse_tag,
}


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back unchanged."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Write text. Characters that are invisible or break lines are escaped in quotes."""
        style = '"' if _INVISIBLE.search(text) else None
        return self.represent_scalar(f"{_TAG}str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)

# The dumper keeps the resolvers of YAML 1.1: text that either version reads as something else is
# quoted, since gateways read 1.1.
for _tag, _pattern, _first in _CORE_SCHEMA:
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(_tag, _pattern, _first)


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
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    # Such characters are in double quotes only.
    return _INVISIBLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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
