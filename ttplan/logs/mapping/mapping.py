"""How a format's columns or JSON paths map to fields, in which units, and which rows to skip."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ttplan.logs.fields import BODIES, EMBEDDINGS, FIELDS, UNITS
from ttplan.logs.mapping.paths import parse_path, rows_path
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike
from ttplan.util.yaml_files import describe_validation_error, read_yaml

_FIELDS = {field.name: field for field in (*FIELDS, *BODIES, *EMBEDDINGS)}
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


class FieldSource(_Strict):
    """Where the value of a field comes from: a path, a sum, the time between two, or a constant."""

    path: PathList = ()
    sum: tuple[PathList, ...] = ()
    """Counts to add. A missing one counts as 0; if all are missing there is no value."""
    start: PathList = ()
    end: PathList = ()
    """Two times, in `unit`; the value is the whole milliseconds between them."""
    unit: str | None = None
    values: dict[str, Scalar | None] = {}
    """Texts to replace; other texts stay as they are."""
    constant: Scalar | None = None
    default: Scalar | None = None
    """The value if the file has none."""

    @model_validator(mode="after")
    def _one_way(self) -> FieldSource:
        has_times = bool(self.start or self.end)
        ways = [bool(self.path), bool(self.sum), has_times, self.constant is not None]
        if sum(ways) != 1 or bool(self.start) != bool(self.end):
            raise ValueError("expected one of path, sum, constant, or start and end")
        if self.unit is not None and self.unit not in UNITS:
            raise ValueError(f"unit {self.unit!r} is not known; expected one of {', '.join(UNITS)}")
        return self

    def paths(self) -> tuple[str, ...]:
        """All paths that are read."""
        return (*self.path, *(path for paths in self.sum for path in paths), *self.start, *self.end)


def _as_source(value: Any) -> Any:
    return {"path": value} if isinstance(value, str | list | tuple) else value


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
    documents: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    """Keys whose value is JSON that may be written as a text. In a file with columns any text may
    be."""
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
            units: tuple[str, ...] = _FIELDS[name].units
            if source.unit is not None and source.unit not in units and not source.start:
                raise ValueError(
                    f"{name}: unit {source.unit!r} does not fit;"
                    f" expected {', '.join(units) or 'none'}"
                )
        return value

    def missing(self) -> tuple[str, ...]:
        """The required fields without a source."""
        return tuple(name for name in REQUIRED_IN_MAPPING if name not in self.fields)


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
