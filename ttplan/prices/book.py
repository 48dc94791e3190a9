"""All known prices: the user's own prices, then the catalogue's."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ttplan.model.pricing import ModelPricing, split_price_key
from ttplan.prices.catalogue import STANDARD, catalogue_schedule
from ttplan.prices.price_file import CustomPrice, from_flat, read_price_file
from ttplan.prices.schedule import Schedule
from ttplan.prices.table import PRICE_FILE

PriceSource = str | os.PathLike[str] | Mapping[str, ModelPricing] | None
"""The user's own prices: a file, or flat prices by `provider:model`."""


class PriceBook:
    """Prices by provider, endpoint, model, service tier and time; own prices override the
    catalogue."""

    def __init__(self, own: PriceSource = None) -> None:
        """`own` is a price file or flat prices. Raises InputError if the file is not valid."""
        self.name = "" if not own else (PRICE_FILE if isinstance(own, Mapping) else os.fspath(own))
        """The name of the own prices, "" if there are none."""
        self._own = (
            read_price_file(own) if isinstance(own, str | os.PathLike) else from_flat(own or {})
        )

    def schedule(
        self,
        provider: str,
        model: str,
        endpoint: str | None = None,
        service_tier: str | None = None,
    ) -> Schedule | None:
        """All prices of such requests; None if none is known.

        An own price of `provider@endpoint:model` takes precedence over `provider:model`. Before the
        first day of dated own prices the catalogue's apply. While an own price applies, a service
        tier that it does not name has no known price.
        """
        listed = catalogue_schedule(provider, model, service_tier)
        match = self._find(provider, model, endpoint)
        if match is None:
            return listed
        key, own = match
        tier = (service_tier or "").strip().lower()
        periods = own.periods if tier in STANDARD else own.service_tiers.get(tier, ())
        start = own.periods[0].start
        earlier = () if listed is None or start is None else listed.before(start)
        if not periods and not earlier:
            return None
        notes = () if listed is None or not earlier else listed.notes
        source = "" if listed is None else listed.source
        return Schedule(
            provider, model, f"{PRICE_FILE}, {key}", (*earlier, *periods), notes, start, source
        )

    def provider_of(self, model: str) -> str | None:
        """The first provider, in alphabetical order, with an own price of the model."""
        owners = sorted(owner for owner, name in map(split_price_key, self._own) if name == model)
        return owners[0] if owners else None

    def _find(
        self, provider: str, model: str, endpoint: str | None
    ) -> tuple[str, CustomPrice] | None:
        keys = [f"{provider}@{endpoint}:{model}"] if endpoint else []
        return next(
            ((key, self._own[key]) for key in (*keys, f"{provider}:{model}") if key in self._own),
            None,
        )
