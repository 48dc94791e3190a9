"""The prices of models as disjoint pieces, which a projection takes as its input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ttplan.model.projection.full import PricePiece
from ttplan.prices.book import PriceBook

PriceKey = tuple[str, str, str | None, str | None]
"""Provider, model, endpoint and service tier, as requests have them."""


def price_pieces(keys: Iterable[PriceKey], book: PriceBook) -> list[PricePiece]:
    """All prices of distinct keys, in their order, then by time, hour and prompt length.

    At most one piece of a key applies to a request. A key without a known price has no piece; a
    time without a price is covered by none.

    Parameters
    ----------
    keys : iterable of tuple
        Provider, model, endpoint and service tier.
    book : PriceBook
        The user's own prices over the catalogue's.

    Examples
    --------
    >>> from ttplan.prices.book import PriceBook
    >>> from ttplan.prices.pieces import price_pieces
    >>> piece, = price_pieces([("openai", "gpt-4o", None, None)], PriceBook())
    >>> piece.rates.input_per_million
    Decimal('2.500000000')
    """
    return [piece for key in keys for piece in _pieces(key, book)]


def _pieces(key: PriceKey, book: PriceBook) -> Iterator[PricePiece]:
    provider, model, endpoint, service_tier = key
    schedule = book.schedule(provider, model, endpoint, service_tier)
    for period in () if schedule is None else schedule.periods:
        for over, up_to, rates in period.levels():
            yield PricePiece(
                provider=provider,
                model=model,
                endpoint=endpoint,
                service_tier=service_tier,
                start=period.start,
                end=period.end,
                day_from=period.day_from,
                day_until=period.day_until,
                over_input_tokens=over,
                up_to_input_tokens=up_to,
                rates=rates,
            )
