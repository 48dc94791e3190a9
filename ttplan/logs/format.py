"""What a format is: its mapping, how its rows are known, and the few rules that a mapping cannot say."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ttplan.logs.mapping import Mapping


class Find(Protocol):
    """SQL of the text at the first of some paths that has one; NULL where none has."""

    def __call__(self, *paths: str) -> str: ...


Rules = Callable[[Find], dict[str, str]]
"""What a mapping cannot say: SQL of some fields' texts. They go before what the mapping says."""


class Signs(NamedTuple):
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
    mapping: Mapping
    signs: Signs
    rules: Rules | None = None
    """SQL of the texts of some fields, from the texts at paths; NULL leaves a field empty."""
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
