"""What a format says of our fields: which of its columns or JSON paths each is, in which unit, and which rows are no requests."""

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

_NAMES = {field.name: field for field in (*FIELDS, *BODIES, *EMBEDDINGS)}
CAN_LACK = ("cost_usd",)
"""Required of a row that is kept, but not of a mapping: what a log does not say, can be computed."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _check_path(value: str) -> str:
    try:
        parse_path(value)
    except InputError as error:
        raise ValueError(str(error)) from None
    return value


PathText = Annotated[
    str, Field(strict=True), BeforeValidator(lambda v: _check_path(v) if isinstance(v, str) else v)
]
OneOf = Annotated[tuple[PathText, ...], BeforeValidator(_as_list)]
"""Paths to look at in turn: the first that has a value counts."""
Scalar = str | int | float | bool


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Value(_Strict):
    """Where one of our fields is found: at a path, as a sum of several, as the time between two, or a constant."""

    path: OneOf = ()
    sum: tuple[OneOf, ...] = ()
    """Whole numbers that are added up; one that is not there counts as 0, none there is no value."""
    start: OneOf = ()
    end: OneOf = ()
    """Two times, in `unit`; the value is the whole milliseconds from the one to the other."""
    unit: str | None = None
    values: dict[str, Scalar | None] = {}
    """Texts that stand for something else; what is not among them stays as it is."""
    constant: Scalar | None = None
    default: Scalar | None = None
    """What it is where nothing is found."""

    @model_validator(mode="after")
    def _one_way(self) -> Value:
        ways = [
            bool(self.path),
            bool(self.sum),
            bool(self.start or self.end),
            self.constant is not None,
        ]
        if sum(ways) != 1 or bool(self.start) != bool(self.end):
            raise ValueError("expected one of path, sum, constant, or start and end")
        if self.unit is not None and self.unit not in UNITS:
            raise ValueError(f"unit {self.unit!r} is not known; expected one of {', '.join(UNITS)}")
        return self

    def paths(self) -> tuple[str, ...]:
        """All paths that are looked at."""
        return (*self.path, *(path for one in self.sum for path in one), *self.start, *self.end)


def _as_value(value: Any) -> Any:
    return {"path": value} if isinstance(value, str | list | tuple) else value


class Skip(_Strict):
    """Rows that are no requests: those whose text at a path is one of some, or none of them; null is a missing one."""

    path: OneOf
    is_: tuple[str | None, ...] | None = Field(None, alias="is")
    is_not: tuple[str | None, ...] | None = None
    reason: str

    @model_validator(mode="after")
    def _one_way(self) -> Skip:
        if (self.is_ is None) == (self.is_not is None):
            raise ValueError("expected either is or is_not, a list of texts")
        return self


class Mapping(_Strict):
    """A format as a declaration. `fields` are our fields; the paths in it are the format's."""

    name: Annotated[str, Field(strict=True, min_length=1, max_length=100)] = "mapping"
    rows: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ("",)
    """Where rows are in a JSON document, such as `data[*]`; "" is that each document, array element or line is one. Of several,
    the first that has rows."""
    blank_is_missing: bool = False
    """Whether an empty text is no value. In CSV it never is one."""
    documents: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    """Keys whose value is JSON that may be written as a text. In a file with columns every text may be."""
    parts: dict[str, OneOf] = {}
    """Names for documents inside a row, to begin paths with: `usage: [metadata.usage, usage]`. Each is read once."""
    fields: dict[str, Annotated[Value, BeforeValidator(_as_value)]]
    skip: tuple[Skip, ...] = ()

    @field_validator("rows")
    @classmethod
    def _rows(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            try:
                rows_path(one) if one else None
            except InputError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("fields")
    @classmethod
    def _known(cls, value: dict[str, Value]) -> dict[str, Value]:
        unknown = [name for name in value if name not in _NAMES]
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)} is no field of ours; expected some of {', '.join(_NAMES)}"
            )
        for name, one in value.items():
            kinds: tuple[str, ...] = _NAMES[name].units
            if one.unit is not None and one.unit not in kinds and not one.start:
                raise ValueError(
                    f"{name}: unit {one.unit!r} does not fit; expected {', '.join(kinds) or 'none'}"
                )
        return value

    def missing(self) -> tuple[str, ...]:
        """Fields that a row needs and that nothing here says."""
        return tuple(
            f.name
            for f in FIELDS
            if f.required and f.name not in CAN_LACK and f.name not in self.fields
        )


def read_mapping(source: Mapping | dict[str, Any] | PathLike) -> Mapping:
    """A mapping of a YAML file, or of plain data. InputError, naming file and key, where it is none or lacks a field."""
    if isinstance(source, Mapping):
        found, where = source, "the mapping"
    else:
        where = "the mapping" if isinstance(source, dict) else str(source)
        data = (
            source
            if isinstance(source, dict)
            else read_yaml(source, "a mapping of a log's columns")
        )
        try:
            found = Mapping.model_validate(data)
        except ValidationError as error:
            raise InputError(
                f"{where}: {describe_validation_error(error)}; expected a mapping as `ttplan inspect FILE` drafts one"
            ) from None
    if found.missing():
        raise InputError(
            f"{where} does not say where {', '.join(found.missing())} is; add it under fields"
        )
    return found
