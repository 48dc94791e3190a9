"""Prices: the catalogue's, and one's own over them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ttplan.model.errors import InputError
from ttplan.model.pricing import ModelPricing
from ttplan.prices import catalogue_price, price_table, read_prices

AT = datetime(2026, 5, 1, tzinfo=UTC)
DATA = Path(__file__).parent.parent / "data"


def test_the_catalogue_gives_exact_decimals() -> None:
    quote = catalogue_price("openai", "gpt-4o-mini", AT)
    assert quote is not None
    assert quote.pricing == ModelPricing(
        input_per_million=Decimal("0.15"), output_per_million=Decimal("0.6"), cached_input_per_million=Decimal("0.075")
    )
    assert (quote.provider, quote.model, quote.tiered) == ("openai", "gpt-4o-mini", False)


def test_what_the_catalogue_does_not_know_is_none() -> None:
    assert catalogue_price("openai", "no-such-model-9", AT) is None
    assert catalogue_price("no-such-provider", "gpt-4o", AT) is None


def test_a_target_has_the_price_of_each_provider_of_the_log_that_offers_it() -> None:
    table = price_table(["openai", "azure", "anthropic"], ["gpt-4o", "claude-haiku-4-5", "no-such-model-9"], at=AT)
    assert {"openai:gpt-4o", "azure:gpt-4o", "anthropic:claude-haiku-4-5"} <= set(table.pricing)
    assert table.missing == ("no-such-model-9",)
    assert table.sources["openai:gpt-4o"] == "genai-prices, model gpt-4o"


def test_a_target_that_no_provider_of_the_log_offers_has_its_own_providers_price() -> None:
    table = price_table(["openai"], ["claude-haiku-4-5"], at=AT)
    assert list(table.pricing) == ["anthropic:claude-haiku-4-5"]


def test_ones_own_prices_win() -> None:
    own = {"openai:gpt-4o": ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(2))}
    table = price_table(["openai", "azure"], ["gpt-4o"], at=AT, own=own)
    assert table.pricing == own
    assert table.sources == {"openai:gpt-4o": "your price file"}


def test_a_price_that_rises_with_the_prompt_is_noted() -> None:
    table = price_table(["anthropic"], ["claude-sonnet-4-5"], at=AT)
    assert any("rises with the prompt" in note for note in table.notes)


def test_the_example_file_is_read() -> None:
    prices = read_prices(DATA / "prices.yaml")
    assert prices["local:llama-3.3-70b"].cached_input_per_million is None
    assert prices["openai:gpt-4o-mini"].input_per_million == Decimal("0.12")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected prices by provider:model"),
        ("- a", "expected prices by provider:model"),
        ("gpt-4o: {input_per_million: 1, output_per_million: 1}", "has no colon"),
        ('"a:b": {input_per_million: 1}', "output_per_million: this key is missing"),
        (
            '"a:b": {input_per_million: 1, output_per_million: -1}',
            "output_per_million: Input should be greater than or equal to 0",
        ),
        ('"a:b": {input_per_million: 1, output_per_million: .nan}', "is not a finite number"),
        ('"a:b": {input_per_million: 1, output_per_million: x}', "is not a number"),
        ('"a:b": {input_per_million: 1, output_per_million: 1, x: 1}', "x: this key is not known"),
        ('"a:b": {input_per_million: 1, output_per_million: 1}\n"a:b": {}', "line 2: the key 'a:b' stands twice"),
        ("a: &x [1]\nb: *x", "aliases are not used here"),
        ("a: [", "expected prices"),
        ("1: 2", "is no text"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
    ],
)
def test_a_price_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_prices(path)
    assert str(path) in str(caught.value)


def test_a_price_file_has_a_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_bytes(b"#" * (5 * 2**20))
    with pytest.raises(InputError, match="more than 4,194,304 bytes"):
        read_prices(path)
    with pytest.raises(InputError, match="no such file"):
        read_prices(tmp_path / "none.yaml")
