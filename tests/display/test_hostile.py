"""Text that wants to be more than text: every card shows it, it does nothing there, and it fits in
80 columns."""

from __future__ import annotations

import ast
import importlib
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import ttplan
from tests.support.hostile import CARDS, HARMLESS, IMG
from ttplan.display.card import Renders, ResultCard
from ttplan.display.render import markdown
from ttplan.display.text import columns, cut, escape, plain, wrap
from ttplan.views.frame import View

ROOT = Path(ttplan.__file__).parent
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


class Page(HTMLParser):
    """The tags and attributes of a page, its text, and whether what is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""
        self.opened: list[str] = []
        self.feed(page)
        self.close()
        assert self.opened == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}
        if tag != "br":
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


KNOWN_TAGS = {
    "div",
    "p",
    "br",
    "strong",
    "code",
    "small",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "ul",
    "li",
}
KNOWN_ATTRIBUTES = {"class", "role", "aria-label", "style", "scope", "colspan"}


@pytest.mark.parametrize("name", CARDS)
def test_hostile_text_is_text_in_every_card(name: str) -> None:
    page = CARDS[name]()._repr_html_()
    parsed = Page(page)
    assert parsed.tags <= KNOWN_TAGS
    assert {attribute for attribute, _ in parsed.attributes} <= KNOWN_ATTRIBUTES
    assert ("role", "group") in parsed.attributes
    assert not re.search(r"https?:|url\(|javascript:", page)
    if name not in HARMLESS:
        assert IMG in parsed.text
        assert r"\u202e" in parsed.text
    assert not {char for char in page if unicodedata.category(char) in UNSEEN}


@pytest.mark.parametrize("name", [name for name in CARDS if name != "view"])
def test_hostile_text_has_no_effect_in_markdown(name: str) -> None:
    tokens = (
        MarkdownIt("commonmark", {"html": True}).enable("table").parse(CARDS[name]().to_markdown())
    )
    inline = [child for token in tokens for child in token.children or ()]
    allowed = {"text", "text_special", "strong_open", "strong_close", "code_inline", "hardbreak"}
    html = [token.content for token in (*tokens, *inline) if token.type.startswith("html")]
    assert set(html) <= {"<br>"}
    assert {token.type for token in inline} - {"html_inline"} <= allowed
    text = "".join(token.content for token in inline)
    assert not {char for char in text if unicodedata.category(char) in UNSEEN}
    if name not in HARMLESS:
        assert IMG in text


@given(st.text(), st.sampled_from(["{}", "- {}", "| {} |\n| --- |", "**{}**"]))
def test_markdown_shows_any_text_as_it_is(text: str, place: str) -> None:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(place.format(markdown(f"x {text} x")))
    shown = "".join(child.content for token in tokens for child in token.children or ())
    assert shown == plain(f"x {text} x")


def test_markdown_starts_no_list_quote_or_heading() -> None:
    for text in ("- a", "+ a", "1. a", "12) a", "# a", "> a", "===", "---", "* a", "    a"):
        tokens = MarkdownIt("commonmark").parse(f"x\n\n{markdown(text)}")
        assert [token.type for token in tokens] == [
            *("paragraph_open", "inline", "paragraph_close") * 2
        ]


@pytest.mark.parametrize("name", CARDS)
def test_every_card_fits_80_columns_without_control_characters(name: str) -> None:
    text = repr(CARDS[name]())
    assert {line: columns(line) for line in text.splitlines() if columns(line) > 80} == {}
    assert not {char for char in text if unicodedata.category(char) in UNSEEN} - {"\n"}
    assert text.isprintable() or "\n" in text
    text.encode()
    if name not in HARMLESS:
        assert "<img src=x" in " ".join(text.split())


def test_colours_are_theme_variables() -> None:
    """A colour that is written out cannot be read in one of the themes."""
    for path in [*ROOT.glob("display/**/*.py"), *ROOT.glob("views/*.py")]:
        for text in (
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant)
        ):
            if isinstance(text, str):
                assert not re.search(
                    r"#[0-9a-fA-F]{3,8}\b|rgb\(|(?<!-)(color|background)\s*:(?!\s*(var\(--jp-|\Z))",
                    text,
                ), (
                    path,
                    text,
                )


def test_every_card_class_is_tested() -> None:
    modules = [
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        for path in ROOT.glob("display/**/*.py")
    ]
    classes = {
        value
        for module in map(importlib.import_module, modules)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Renders)
    }
    assert classes - {Renders, ResultCard} == {type(make()) for make in CARDS.values()} - {View}


@given(st.text(st.characters(codec=None, exclude_categories=())), st.integers(2, 90))
def test_plain_text_is_one_harmless_line(text: str, width: int) -> None:
    line = plain(text)
    assert "\n" not in line
    assert not {char for char in line if unicodedata.category(char) in UNSEEN} - {
        "\u200c",
        "\u200d",
    }
    line.encode()
    assert plain(line) == line
    assert columns(cut(text, width)) <= width
    assert all(
        columns(part) <= 80 for part in wrap(text, initial_indent="  ! ", subsequent_indent="    ")
    )
    assert "".join(wrap(text)).replace(" ", "") == line.replace(" ", "")
    assert "<" not in escape(text)


def test_ordinary_text_stays_unchanged() -> None:
    for text in ("Zoë: 50 % of “chat”", "日本語", "می‌خواهم", "👩‍💻 émoji", "a-b_c/d"):
        assert plain(text) == text
    assert plain(" a\tb\n c ") == "a b c"
    assert plain(
        "\x1b[1m\ud800\u202e\u2028\U000e0041"
    ) == r"\u001b[1m\ud800\u202e\U000e0041".replace(r"\U", r" \U")
