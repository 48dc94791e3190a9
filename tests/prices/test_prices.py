"""Prices of the catalogue, and the user's own, which override them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TimeOfDateConstraint,
)

from tests.paths import DATA
from ttplan.model.errors import InputError
from ttplan.model.pricing import ModelPricing
from ttplan.prices import catalogue_price, price_table, read_prices

AT = datetime(2026, 5, 1, tzinfo=UTC)


def test_the_catalogue_gives_exact_decimals() -> None:
    quote = catalogue_price("openai", "gpt-4o-mini", AT)
    assert quote is not None
    assert quote.pricing == ModelPricing(
        input_per_million=Decimal("0.15"),
        output_per_million=Decimal("0.6"),
        cached_input_per_million=Decimal("0.075"),
    )
    assert (quote.provider, quote.model, quote.tiered) == ("openai", "gpt-4o-mini", False)


def test_what_the_catalogue_does_not_know_is_none() -> None:
    assert catalogue_price("openai", "no-such-model-9", AT) is None
    assert catalogue_price("no-such-provider", "gpt-4o", AT) is None


def test_a_target_is_priced_for_each_provider_of_the_log() -> None:
    table = price_table(
        ["openai", "azure", "anthropic"], ["gpt-4o", "claude-haiku-4-5", "no-such-model-9"], at=AT
    )
    assert {"openai:gpt-4o", "azure:gpt-4o", "anthropic:claude-haiku-4-5"} <= set(table.pricing)
    assert table.missing == ("no-such-model-9",)
    assert table.sources["openai:gpt-4o"] == "genai-prices, model gpt-4o"


def test_a_target_not_offered_by_the_log_has_its_makers_price() -> None:
    table = price_table(["openai"], ["claude-haiku-4-5"], at=AT)
    assert list(table.pricing) == ["anthropic:claude-haiku-4-5"]


def test_ones_own_prices_win() -> None:
    own = {
        "openai:gpt-4o": ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(2))
    }
    table = price_table(["openai", "azure"], ["gpt-4o"], at=AT, own=own)
    assert table.pricing["openai:gpt-4o"] == own["openai:gpt-4o"]
    assert table.sources["openai:gpt-4o"] == "your price file"
    assert price_table(["openai"], ["gpt-4o"], at=AT, own=own).pricing == own


def test_ones_own_price_at_one_provider_is_not_that_of_another() -> None:
    own = {
        "openai:gpt-4o": ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(2))
    }
    table = price_table(["openai", "azure"], ["gpt-4o"], at=AT, own=own)
    assert table.pricing["azure:gpt-4o"].input_per_million == Decimal("2.5")
    assert table.sources["azure:gpt-4o"] == "genai-prices, model gpt-4o"


def test_a_target_that_only_ones_own_prices_know_is_not_missing() -> None:
    own = {
        "local:our-model": ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(2))
    }
    table = price_table(["openai"], ["our-model"], at=AT, own=own)
    assert (dict(table.pricing), table.missing) == (own, ())


def test_a_price_that_rises_with_the_prompt_is_noted() -> None:
    table = price_table(["anthropic"], ["claude-sonnet-4-5"], at=AT)
    assert any("rises with the prompt" in note for note in table.notes)


@pytest.mark.parametrize(
    ("provider", "model", "note_text"),
    [
        (
            "anthropic",
            "claude-haiku-4-5-20251001",
            "takes this name for its model claude-haiku-4-5",
        ),
        ("our-openai-proxy", "gpt-4o", "takes this provider for its own openai"),
        ("perplexity", "sonar", "a fee per request"),
    ],
)
def test_how_a_name_was_understood_and_what_is_left_out_is_noted(
    provider: str, model: str, note_text: str
) -> None:
    quote = catalogue_price(provider, model, AT)
    assert quote is not None
    assert any(note_text in note for note in quote.notes)
    plain = catalogue_price("openai", "gpt-4o", AT)
    assert plain is not None
    assert plain.notes == ()


def test_names_that_only_resemble_a_model_have_no_price() -> None:
    for model in (
        "gpt-4o-foobar",
        "not-gpt-4o",
        "our-gpt-4o-mini-clone",
        "ft:gpt-4o:acme",
        "claude-haiku",
        "",
    ):
        assert catalogue_price("openai", model, AT) is None
        assert catalogue_price(None, model, AT) is None
    assert price_table(["openai"], ["gpt-4o-foobar"], at=AT).missing == ("gpt-4o-foobar",)


def rate(dollars: str) -> ModelPrice:
    return ModelPrice(input_mtok=Decimal(dollars), output_mtok=Decimal(dollars))


@pytest.fixture
def dated() -> Iterator[None]:
    """A catalogue of one model: 1 USD, from 2026-06-01 on 2 USD, and 3 USD at night."""
    model = ModelInfo(
        id="night-owl",
        match=ClauseEquals("night-owl"),
        prices=[
            ConditionalPrice(prices=rate("1")),
            ConditionalPrice(StartDateConstraint(date(2026, 6, 1)), prices=rate("2")),
        ],
    )
    by_hour = ModelInfo(
        id="owl-by-hour",
        match=ClauseEquals("owl-by-hour"),
        prices=[
            ConditionalPrice(prices=rate("1")),
            ConditionalPrice(TimeOfDateConstraint(time(22), time(4)), prices=rate("3")),
        ],
    )
    set_custom_snapshot(
        DataSnapshot(
            [Provider("nest", "Nest", "https://nest.invalid", models=[model, by_hour])],
            from_auto_update=False,
        )
    )
    yield
    set_custom_snapshot(None)


@pytest.mark.usefixtures("dated")
def test_a_dated_price_is_the_one_of_that_date() -> None:
    quotes = [
        catalogue_price("nest", "night-owl", datetime(2026, month, 1, tzinfo=UTC))
        for month in (5, 6)
    ]
    assert [quote and quote.pricing.input_per_million for quote in quotes] == [
        Decimal(1),
        Decimal(2),
    ]
    assert [quote and quote.notes for quote in quotes] == [(), ()]


@pytest.mark.usefixtures("dated")
def test_a_price_that_depends_on_the_hour_is_the_highest() -> None:
    quotes = [catalogue_price("nest", "owl-by-hour", AT.replace(hour=hour)) for hour in range(24)]
    assert {quote and quote.pricing.input_per_million for quote in quotes} == {Decimal(3)}
    assert quotes[0] is not None
    assert any("depends on the hour" in note for note in quotes[0].notes)


def test_every_model_of_the_catalogue_has_a_valid_price_or_none() -> None:
    for provider in get_snapshot().providers:
        for model in provider.models:
            quote = catalogue_price(provider.id, model.id, AT)
            if quote is not None:
                assert (quote.provider, quote.model) == (provider.id, model.id)
                wide = catalogue_price(None, model.id, AT)
                assert wide is not None


def test_a_target_of_an_unknown_maker_has_the_highest_price() -> None:
    listed = [
        p.id for p in get_snapshot().providers if any(m.id == "llama-3.3-70b" for m in p.models)
    ]
    table = price_table(["openai"], ["llama-3.3-70b"], at=AT)
    ((key, price),) = table.pricing.items()
    offers = [
        quote.pricing
        for p in listed
        if (quote := catalogue_price(p, "llama-3.3-70b", AT)) is not None
    ]
    assert key.partition(":")[0] in listed
    assert price.input_per_million + price.output_per_million == max(
        o.input_per_million + o.output_per_million for o in offers
    )
    assert any(f"the dearest of {len(offers)}" in note for note in table.notes)


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
        (
            '"a:b": {input_per_million: 1, output_per_million: 1}\n"a:b": {}',
            "line 2: the key 'a:b' appears twice",
        ),
        ("a: &x [1]\nb: *x", "aliases are not supported"),
        ("a: [", "expected prices"),
        ("1: 2", "is not text"),
        (
            '"a:b": {input_per_million: 0.0000000001, output_per_million: 1}',
            "input_per_million: more than 9 digits",
        ),
        ('"a:b": {input_per_million: 1e9, output_per_million: 1}', "should be less than Decimal"),
        ('"a:b": {input_per_million: 1e300, output_per_million: 1}', "should be less than Decimal"),
        (
            '"a:b": {input_per_million: 1e-300, output_per_million: 1}',
            "input_per_million: more than 9 digits",
        ),
        ('"a:b": {input_per_million: .inf, output_per_million: 1}', "is not a finite number"),
        ('"a:b": {input_per_million: true, output_per_million: 1}', "is not a number"),
        ('"a:b": 3', "a:b: the whole"),
        ('":b": {input_per_million: 1, output_per_million: 1}', "lacks a provider or a model"),
        ('"a: b": {input_per_million: 1, output_per_million: 1}', "has blanks around one"),
        ("a: !!python/object:os.system {}", "is not supported"),
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
