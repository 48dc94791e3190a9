"""YAML is read by the core schema of version 1.2; the rest is refused with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ttplan.model.errors import InputError
from ttplan.util.yaml_files import format_yaml, read_yaml


def read(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    return read_yaml(path, "routes")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2026-02-30", "2026-02-30"),
        ("yes", "yes"),
        ("1e-3", 0.001),
        ("-.5", -0.5),
        ("TRUE", True),
        ("~", None),
        ("", None),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ("!!str 1", "1"),
    ],
)
def test_scalars_of_the_core_schema(tmp_path: Path, text: str, value: Any) -> None:
    read_value = read(tmp_path, f"key: {text}\n")["key"]
    assert (read_value, type(read_value)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!int x", "'x' is not a whole number"),
        ("9" * 4_301, "is not a whole number of at most 100 digits"),
        ("1e999", "the number 1e999 is too large"),
        ("!!bool maybe", "'maybe' is neither true nor false"),
        ("!!float x", "'x' is not a number"),
        ('"\\ud800"', "a lone surrogate is not a character"),
        ("!!timestamp 2026-02-30", "is not supported"),
        ("!!binary x", "is not supported"),
        ("!mine x", "the tag '!mine' is not supported"),
        ("&x 1\nb: *x", "aliases are not supported"),
    ],
)
def test_the_rest_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, f"first: 1\nkey: {text}\n")
    assert message in str(caught.value)
    assert f"file.yaml, line {3 if '*' in text else 2}: " in str(caught.value)


def test_what_is_written_reads_the_same_in_both_versions(tmp_path: Path) -> None:
    texts = ["yes", "010", "1:30", "0o17", "1e3", ".5e3", "2026-05-01", "~", "=", "<<", "", " "]
    texts += ["x\u202ey", "\x1b[31m", "\u2028", "\U000e0041", "a: b", "\x85", "日本"]
    content = {"texts": texts, "numbers": [1e-7, 1e16, 3, True, None]}
    written = format_yaml(content)
    assert read(tmp_path, written) == content
    assert yaml.safe_load(written) == content
    assert "\u202e" not in written
    assert "日本" in written
