"""What a format is: its mapping, how its rows are known, and the few rules that a mapping cannot say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from ttplan.logs.mapping.mapping import Mapping as FormatMapping


class Find(Protocol):
    """SQL of the text at the first of some paths that has one; NULL where none has."""

    def __call__(self, *paths: str) -> str: ...


Rule = Callable[[Find], str]
"""What a mapping cannot say: SQL of a field's text, NULL where it has none."""


class Signature(NamedTuple):
    """The keys of a row that tell a format: all of `needs`, one or more of each of `any_of`, none of `never`. `also` add weight.

    A key may be a path into the row: it is there where its first step is a column and, in JSON, the whole path is.
    """

    needs: tuple[str, ...]
    any_of: tuple[tuple[str, ...], ...] = ()
    never: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


class Format(NamedTuple):
    """A format that can be read."""

    title: str
    """What a report calls it."""
    mapping: FormatMapping
    signs: Signature
    rules: Mapping[str, Rule] = MappingProxyType({})
    """The rules of some fields, by name. They go before what the mapping says."""
    shared: Mapping[str, Rule] = MappingProxyType({})
    """Columns that rules use by name, each reckoned once a row."""
    expand: Callable[[str], str] | None = None
    """SQL of the rows, from SQL of the documents (both with one column `json`), where a path to rows does not do."""
    named: bool = True
    """Whether its names of providers and models are another's, to be brought to the catalogue's."""
    table: str | None = None
    """The table in the tool's own database."""
    refused: str | None = None
    """Why rows like these are no requests, and what to do; a file of this format is recognised and refused with it."""

    @property
    def name(self) -> str:
        """What `format=` calls it."""
        return self.mapping.name
