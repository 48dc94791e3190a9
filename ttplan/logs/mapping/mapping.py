"""How a format's columns or JSON paths map to fields, in which units, and which rows to skip."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import available_timezones

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ttplan.logs.fields import BODIES, COUNT, EMBEDDINGS, FIELDS, HELPERS, INSTANT, MONEY, PROMPTS
from ttplan.logs.mapping.paths import parse_path, rows_path
from ttplan.logs.units import MAX_FACTOR_DIGITS, UNITS, units_of
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike
from ttplan.util.yaml_files import describe_validation_error, read_yaml

_FIELDS = {field.name: field for field in (*FIELDS, *HELPERS, *BODIES, *PROMPTS, *EMBEDDINGS)}
OPTIONAL_IN_MAPPING = ("cost_usd",)
"""Required in a row but not in a mapping, since it can be computed."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _check_path(value: Any) -> Any:
    if isinstance(value, str):
        try:
            parse_path(value)
        except InputError as error:
            raise ValueError(str(error)) from None
    return value


PathText = Annotated[str, Field(strict=True), BeforeValidator(_check_path)]
PathList = Annotated[tuple[PathText, ...], BeforeValidator(_as_list)]
"""Alternative paths: the first that has a value counts."""
Scalar = str | int | float | bool


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _as_source(value: Any) -> Any:
    return {"path": value} if isinstance(value, str | list | tuple) else value


class FieldSource(_Strict):
    """Where the value of a field comes from: a path, a sum, the time between two, a constant, or
    the first of several sources that has a value."""

    path: PathList = ()
    sum: tuple[PathList, ...] = ()
    """Numbers to add. A missing one counts as 0; if all are missing there is no value."""
    minus: tuple[PathList, ...] = ()
    """Numbers to subtract from the sum."""
    join: tuple[PathList, ...] = ()
    """Texts to join with `separator`. A missing one is empty; if all are missing there is none."""
    separator: Annotated[str, Field(max_length=10)] = "|"
    start: PathList = ()
    end: PathList = ()
    """Two times, in `unit`; the value is the whole milliseconds between them."""
    first: tuple[Annotated[FieldSource, BeforeValidator(_as_source)], ...] = ()
    constant: Scalar | None = None
    pattern: Annotated[str, Field(max_length=200)] | None = None
    """A regular expression (RE2): its first group, or the whole match, is the text. Other texts are
    no value."""
    values: dict[str, Scalar | None] = {}
    """Texts to replace; "*" stands for all others, which otherwise stay as they are."""
    factor: Annotated[Decimal, Field(gt=0)] | None = None
    """What to multiply a number by."""
    unit: str | None = None
    format: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    """How a time is written, for strptime: the first format that fits counts."""
    zone: str | None = None
    """The time zone of times that do not say theirs."""
    default: Scalar | None = None
    """The value if the file has none."""

    @model_validator(mode="after")
    def _one_way(self) -> FieldSource:
        has_times = bool(self.start or self.end)
        ways = (self.path, self.sum, self.join, self.first, has_times, self.constant is not None)
        if sum(map(bool, ways)) != 1 or bool(self.start) != bool(self.end):
            raise ValueError("expected one of path, sum, join, first, constant, or start and end")
        if any(source.first for source in self.first):
            raise ValueError("first has sources that are lists of sources themselves")
        if self.minus and not self.sum:
            raise ValueError("minus has nothing to subtract from; expected sum beside it")
        if self.unit is not None and self.unit not in UNITS:
            raise ValueError(f"unit {self.unit!r} is not known; expected one of {', '.join(UNITS)}")
        if self.unit is not None and self.format:
            raise ValueError("unit and format both say how a time is written; give one of them")
        return self

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                pc.match_substring_regex(pa.array([""]), value)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from None
        return value

    @field_validator("format")
    @classmethod
    def _check_format(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                with duckdb.connect() as connection:
                    connection.execute("SELECT try_strptime('', ?)", [text]).fetchall()
            except duckdb.Error as error:
                raise ValueError(f"{text!r} is not a format of times: {error}") from None
        return value

    @field_validator("zone")
    @classmethod
    def _check_zone(cls, value: str | None) -> str | None:
        if value is not None and value not in available_timezones():
            raise ValueError(f"zone {value!r} is not known; expected one such as Europe/Berlin")
        return value

    @field_validator("factor")
    @classmethod
    def _check_factor(cls, value: Decimal | None) -> Decimal | None:
        if value is not None and len(f"{value:f}".replace(".", "")) > MAX_FACTOR_DIGITS:
            raise ValueError(f"factor {value} has more than {MAX_FACTOR_DIGITS} digits")
        return value

    def paths(self) -> tuple[str, ...]:
        """All paths that are read."""
        parts = (*self.sum, *self.minus, *self.join)
        inner = (path for source in self.first for path in source.paths())
        return (*self.path, *(p for paths in parts for p in paths), *self.start, *self.end, *inner)

    @property
    def alternatives(self) -> tuple[FieldSource, ...]:
        """The source itself, or those of which the first with a value counts."""
        return self.first or (self,)


class SkipRule(_Strict):
    """Rows that are not requests: the text at a path is one of some, or none of some; null means
    that it is missing."""

    path: PathList
    is_: tuple[str | None, ...] | None = Field(None, alias="is")
    is_not: tuple[str | None, ...] | None = None
    reason: str

    @model_validator(mode="after")
    def _one_way(self) -> SkipRule:
        if (self.is_ is None) == (self.is_not is None):
            raise ValueError("expected either is or is_not, a list of texts")
        return self


class FormatMapping(_Strict):
    """A format as a declaration: `fields` has the source of each of ttplan's fields."""

    name: Annotated[str, Field(strict=True, min_length=1, max_length=100)] = "mapping"
    rows: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ("",)
    """Paths to the rows in a JSON document, such as `data[*]`; "" means that each document, array
    element or line is a row. The first path that has rows counts."""
    blank_is_missing: bool = False
    """Whether an empty text is a missing value. In CSV it always is."""
    documents: PathList = ()
    """Paths to values that are JSON written as a text. A column's text may always be."""
    parts: dict[str, PathList] = {}
    """Names for documents inside a row, to start paths with: `usage: [metadata.usage, usage]`.
    Each is read once."""
    fields: dict[str, Annotated[FieldSource, BeforeValidator(_as_source)]]
    skip: tuple[SkipRule, ...] = ()

    @field_validator("rows")
    @classmethod
    def _check_rows(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in filter(None, value):
            try:
                rows_path(path)
            except InputError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("fields")
    @classmethod
    def _check_fields(cls, value: dict[str, FieldSource]) -> dict[str, FieldSource]:
        unknown = [name for name in value if name not in _FIELDS]
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)} is not a field of ttplan; expected some of"
                f" {', '.join(_FIELDS)}"
            )
        for name, source in value.items():
            for alternative in source.alternatives:
                _check_kind(name, alternative)
        return value

    def missing(self) -> tuple[str, ...]:
        """The required fields without a source."""
        return tuple(name for name in REQUIRED_IN_MAPPING if name not in self.fields)


def _check_kind(name: str, source: FieldSource) -> None:
    """Raises ValueError if a source does not fit its field's kind."""
    field = _FIELDS[name]
    units = units_of(field)
    if source.unit is not None and source.unit not in units and not source.start:
        raise ValueError(
            f"{name}: unit {source.unit!r} does not fit; expected {', '.join(units) or 'none'}"
        )
    is_number = field.kind in (COUNT, MONEY) or name.endswith("_tokens")
    for key, fits in (
        ("sum", is_number),
        ("factor", is_number),
        ("format", field.kind is INSTANT),
        ("zone", field.kind is INSTANT),
        ("join", not is_number and field.kind is not INSTANT),
        ("start", field.kind is COUNT),
    ):
        if getattr(source, key) and not fits:
            raise ValueError(f"{name}: {key} does not fit this field")


REQUIRED_IN_MAPPING = tuple(
    f.name for f in FIELDS if f.required and f.name not in OPTIONAL_IN_MAPPING
)


def read_mapping(source: FormatMapping | dict[str, Any] | PathLike) -> FormatMapping:
    """A mapping from a YAML file or from plain data. Raises InputError, naming file and key, if it
    is not valid or lacks a field."""
    is_file = not isinstance(source, FormatMapping | dict)
    where = str(source) if is_file else "the mapping"
    if isinstance(source, FormatMapping):
        mapping = source
    else:
        what = "a mapping of a log's columns"
        content = source if isinstance(source, dict) else read_yaml(source, what)
        try:
            mapping = FormatMapping.model_validate(content)
        except ValidationError as error:
            raise InputError(
                f"{where}: {describe_validation_error(error)};"
                " expected a mapping as `ttplan inspect FILE` drafts one"
            ) from None
    if missing := mapping.missing():
        raise InputError(f"{where} does not say where {', '.join(missing)} is; add it under fields")
    return mapping
