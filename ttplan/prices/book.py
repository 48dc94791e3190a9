"""Who asks what a request cost asks here: one's own prices first, then the catalogue's."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ttplan.model.pricing import ModelPricing, split_price_key
from ttplan.prices.catalogue import STANDARD, catalogue_schedule
from ttplan.prices.price_file import CustomPrice, from_flat, read_price_file
from ttplan.prices.schedule import Schedule
from ttplan.prices.table import PRICE_FILE
from ttplan.util.paths import PathLike

PriceSource = PathLike | Mapping[str, ModelPricing] | None
"""Prices of one's own: a file, or flat prices by `provider:model`."""


class PriceBook:
    """Prices by provider, endpoint, model, service tier and moment: one's own over the catalogue's."""

    def __init__(self, own: PriceSource = None) -> None:
        """`own` is a price file or flat prices. Raises InputError where the file cannot be used."""
        self.name = "" if not own else (PRICE_FILE if isinstance(own, Mapping) else os.fspath(own))
        """What one's own prices are called, "" where there are none."""
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
        """All prices of such requests; None where none is known.

        One's own price of `provider@endpoint:model` comes before that of `provider:model`. Before the first day of dated prices
        the catalogue's hold. A service tier that one's own price does not name has no known price while that holds.
        """
        listed = catalogue_schedule(provider, model, service_tier)
        found = self._find(provider, model, endpoint)
        if found is None:
            return listed
        key, own = found
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
        """The first provider, in order, for which one's own prices have that model."""
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
