"""The texts that a query reads: paths into columns and documents as SQL, each read once per row."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ttplan.logs.fields import BODIES
from ttplan.logs.mapping.mapping import FormatMapping
from ttplan.logs.mapping.paths import Entry, Only, Path, Step, parse_path, pointer
from ttplan.logs.mapping.sql import coalesce, identifier, is_nested, quoted, texts_at, unquoted


class Texts:
    """The texts that a query reads, each once per row: `t0`, `t1`, … in order of first use.

    What a path reads of a text that is JSON, of an entry of a list or of a part of the mapping is
    read from that text, in the next of several stages: `q0`, `q1`, ….
    """

    def __init__(
        self,
        columns: dict[str, str] | None,
        blank_is_missing: bool,
        mapping: FormatMapping,
        *,
        keys: Collection[str] = (),
        unquote: bool = False,
    ) -> None:
        """`columns` are the columns and their SQL types, or None for JSON documents. `keys` are the
        keys of the rows, if known: a path may begin with one that has dots. With `unquote` a text
        that is a JSON string, with its quotes, is read without them; bodies stay as they are."""
        self._columns = columns
        self._keys = frozenset(keys if columns is None else columns)
        self._blank_is_missing = blank_is_missing
        self._documents = frozenset(map(parse_path, mapping.documents))
        self._parts = mapping.parts
        self._unquote = unquote
        bodies = (mapping.fields.get(field.name) for field in BODIES)
        self._verbatim = {parse_path(p) for source in bodies if source for p in source.paths()}
        self._names: dict[Path, str] = {}
        # By stage: the SQL of a document, and the names of what is read from it.
        self._stages: list[dict[str, dict[str, str]]] = []
        self._stage_of: dict[str, int] = {}

    def find(self, *paths: str) -> str:
        """`FindText` for this file; a missing column is NULL."""
        return coalesce([self._name(self._resolve(path)) for path in paths])

    def has(self, paths: Sequence[str]) -> bool:
        """Whether any of the paths may exist; in JSON any path may."""
        if self._columns is None:
            return True
        steps = [self._resolve(path) for path in paths]
        parts = [self._resolve(p) for path in steps for p in self._parts.get(str(path[0]), ())]
        return any(path[0] in self._columns for path in (*steps, *parts))

    @property
    def used(self) -> frozenset[str]:
        """The first step of every path that is read."""
        return frozenset(str(path[0]) for path in self._names)

    def relation(self, rows: str) -> str:
        """SQL of the texts over SQL of the rows; parses a document once for all paths into it."""
        relation = self._from_documents(rows) if self._columns is None else self._from_columns(rows)
        number = 0
        for stage in self._stages:
            lists, names = [], []
            for document, texts in stage.items():
                lists.append(f"{texts_at(document, [*texts])} AS p{number}")
                names += [
                    f"{self._clean(f'p{number}[{i}]')} AS {name}"
                    for i, name in enumerate(texts.values(), 1)
                ]
                number += 1
            relation = (
                f"(SELECT *, {', '.join(names)} FROM (SELECT *, {', '.join(lists)}"  # noqa: S608
                f" FROM {relation}))"
            )
        return relation

    def _resolve(self, text: str) -> Path:
        """The steps of a path. Its first keys are one if the rows have a key with these dots."""
        path = parse_path(text)
        if path[0] in self._keys or path[0] in self._parts:
            return path
        for end in range(2, len(path) + 1):
            first = ".".join(map(str, path[:end]))
            if isinstance(path[end - 1], str) and first in self._keys:
                return (first, *path[end:])
        return path

    def _name(self, path: Path) -> str | None:
        part = str(path[0])
        if part not in self._parts:
            return self._plain_name(path)
        # The paths of a part start at the row, so a part may have the name of a key.
        names = [self._plain_name(self._resolve(p)) for p in self._parts[part]]
        known = [name for name in names if name is not None]
        if len(path) == 1:
            return coalesce(known)
        return self._staged_name(known, path[1:], path) if known else None

    def _plain_name(self, path: Path) -> str | None:
        if self._columns is not None and path[0] not in self._columns:
            return None
        end = self._break(path, path)
        name = self._names.setdefault(path[:end], f"t{len(self._names)}")
        return name if end == len(path) else self._staged_name([name], path[end:], path)

    def _break(self, path: Path, whole: Path) -> int:
        """How many steps can be read at once."""
        before = len(whole) - len(path)
        for end in range(1, len(path)):
            # A text in a column, or at a key of a document, is parsed in the first query.
            is_text = before + end > 1 and whole[: before + end] in self._documents
            if is_text or not isinstance(path[end], str | int):
                return end
        return len(path)

    def _staged_name(self, texts: Sequence[str], path: Path, whole: Path) -> str:
        """The name of what a path reads of the first of some texts that has a value."""
        document, first = _element(coalesce(texts), path[0])
        end = self._break(path, whole)
        number = 1 + max(self._stage_of.get(name, -1) for name in texts)
        while len(self._stages) <= number:
            self._stages.append({})
        names = self._stages[number].setdefault(document, {})
        at = pointer(path[first:end])
        if at not in names:
            names[at] = f"q{len(self._stage_of)}"
            self._stage_of[names[at]] = number
        return names[at] if end == len(path) else self._staged_name([names[at]], path[end:], whole)

    def _inner_paths(self) -> dict[str, list[Path]]:
        """The paths of more than one step, by their first."""
        by_first: dict[str, list[Path]] = {}
        for path in self._names:
            if len(path) > 1:
                by_first.setdefault(str(path[0]), []).append(path)
        return by_first

    @staticmethod
    def _inside(document: str, paths: Sequence[Path]) -> str:
        return texts_at(document, [pointer(path[1:]) for path in paths])

    def _from_columns(self, rows: str) -> str:
        sources: dict[Path, str] = {
            path: self._text(str(path[0])) for path in self._names if len(path) == 1
        }
        lists = ["*"]
        for n, (name, paths) in enumerate(self._inner_paths().items()):
            lists.append(f"{self._inside(self._document(name), paths)} AS y{n}")
            sources |= {path: f"y{n}[{i}]" for i, path in enumerate(paths, 1)}
        return self._select(sources, f"(SELECT {', '.join(lists)} FROM {rows})")  # noqa: S608

    def _from_documents(self, rows: str) -> str:
        """Read every path at once. A document may be written as a text: if no path into it has a
        value, that text is parsed."""
        inner = {name: p for name, p in self._inner_paths().items() if (name,) in self._documents}
        pointers = [*map(pointer, self._names), *(pointer((name,)) for name in inner)]
        sources = {path: f"x[{n}]" for n, path in enumerate(self._names, 1)}
        lists = ["x"]
        for n, paths in enumerate(inner.values()):
            text = f"x[{len(self._names) + 1 + n}]"
            missing = " AND ".join(f"{sources[path]} IS NULL" for path in paths)
            lists.append(f"CASE WHEN {missing} THEN {self._inside(text, paths)} END AS y{n}")
            sources |= {
                path: f"coalesce({sources[path]}, y{n}[{i}])" for i, path in enumerate(paths, 1)
            }
        first = f"(SELECT {texts_at('json', pointers)} AS x FROM {rows})" if pointers else rows  # noqa: S608
        if inner:
            first = f"(SELECT {', '.join(lists)} FROM {first})"  # noqa: S608
        return self._select(sources, first)

    def _select(self, sources: dict[Path, str], relation: str) -> str:
        texts = ", ".join(
            f"{self._clean(text, path)} AS {self._names[path]}" for path, text in sources.items()
        )
        return f"(SELECT {texts or 'NULL AS nothing'} FROM {relation})"  # noqa: S608

    def _clean(self, text: str, path: Path = ()) -> str:
        if self._unquote and path not in self._verbatim:
            text = unquoted(text)
        return f"NULLIF({text}, '')" if self._blank_is_missing else text

    def _text(self, column: str) -> str:
        name = identifier(column)
        return f"CAST({f'to_json({name})' if self._nested(column) else name} AS VARCHAR)"

    def _document(self, column: str) -> str:
        name = identifier(column)
        return f"to_json({name})" if self._nested(column) else f"CAST({name} AS VARCHAR)"

    def _nested(self, column: str) -> bool:
        return is_nested((self._columns or {}).get(column, ""))


def _element(text: str, step: Step) -> tuple[str, int]:
    """SQL of the document that a first step selects in a text, and how many steps that takes."""
    if isinstance(step, Entry):
        key = f"json_extract_string(e, {quoted(pointer((step.field,)))})"
        entries = f"TRY_CAST({text} AS JSON[])"
        return f"list_filter({entries}, lambda e: {key} = {quoted(step.text)})[1]", 1
    if isinstance(step, Only):
        return f"TRY(json_extract({text}, '$.*'))[1]", 1
    return text, 0
