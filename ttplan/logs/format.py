"""What a log format is: its mapping, its signature, and rules that a mapping cannot state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from ttplan.logs.mapping.mapping import FormatMapping
from ttplan.logs.usage_columns import Counting


class FindText(Protocol):
    """SQL of the text at the first of some paths that has one; NULL if none has."""

    def __call__(self, *paths: str) -> str: ...


Rule = Callable[[FindText], str]
"""SQL of a field's text, NULL if it has none; for what a mapping cannot state."""


class Signature(NamedTuple):
    """The keys that identify a format: all of `required`, one or more of each of `any_of`, none of
    `forbidden`. The `typical` ones add weight.

    A key may be a path into the row. The first step has to be a column; in JSON the whole path has
    to exist.
    """

    required: tuple[str, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    forbidden: tuple[str, ...] = ()
    typical: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, required: str, any_of: tuple[str, ...] = (), forbidden: str = "", typical: str = ""
    ) -> Signature:
        """A signature from keys that are separated by spaces."""
        alternatives = tuple(tuple(keys.split()) for keys in any_of)
        first, *others = (tuple(keys.split()) for keys in (required, forbidden, typical))
        return cls(first, alternatives, *others)

    @property
    def identifying(self) -> tuple[str, ...]:
        """The keys to name in messages: the required ones; if these are few, the first of each
        alternative, too."""
        few = len(self.required) < 2
        return (*self.required, *(paths[0] for paths in self.any_of if few))


REPEATS = "repeats"
REPEATED = {
    "path": REPEATS,
    "is": ["true"],
    "reason": "a span around calls of models, whose usage it repeats",
}
"""The rule of a mapping for such spans; in a format with `nesting` it needs no such path."""


FROM_USAGE = {name: {"constant": 0} for name in ("input_tokens", "output_tokens", "cached_tokens")}
"""Fields of a mapping that the usage object gives."""


def in_trace(trace: Sequence[str], *paths: str) -> Rule:
    """A span's id, under one of `paths`, with that of its trace."""
    return lambda find: f"{find(*trace)} || '/' || {find(*paths)}"


class Nesting(NamedTuple):
    """What identifies a span and its parent in a file, so that a span is left out if a request
    with usage is under it."""

    span: Rule
    parent: Rule


class Format(NamedTuple):
    """A format that can be read."""

    title: str
    """Its name in reports."""
    mapping: FormatMapping
    signature: Signature = Signature()
    rules: Mapping[str, Rule] = MappingProxyType({})
    """Rules by field. They take precedence over the mapping."""
    shared: Mapping[str, Rule] = MappingProxyType({})
    """Columns that several rules use by name, computed once per row."""
    expand: Callable[[str], str] | None = None
    """SQL of the rows from SQL of the documents, if a path to rows is not enough. Both have one
    column `json`."""
    document_keys: tuple[str, ...] = ()
    """Keys of documents that can be expanded: a file without any of them has another format."""
    nesting: Nesting | None = None
    """How spans of the file are nested, if spans that are requests may repeat those under them."""
    foreign_names: bool = True
    """Whether providers and models have to be normalised to the catalogue's ids."""
    assumed: Mapping[str, str] = MappingProxyType({})
    """What a report says is assumed of fields that the rows do not have."""
    table: str | None = None
    """The table in the tool's own database."""
    counting: Counting = "provider"
    """How it counts cached, written and reasoning tokens."""
    refusal: str | None = None
    """Why these rows are not requests, and what to do: such files are recognised and refused."""

    @property
    def name(self) -> str:
        """Its name in `format=`."""
        return self.mapping.name
