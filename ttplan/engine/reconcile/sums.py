"""Sums of a plan's window and of what came afterwards, by unit, kind and model, and the prices that
the plan reckoned with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.optimize import nnls

from ttplan.engine.breakdown import DIMENSIONS
from ttplan.engine.dialects import Ints, fetch
from ttplan.engine.reconcile.parts import Flags, Floats, InputRates, Sums
from ttplan.engine.reconcile.rerouted import rerouted_live, rerouted_window
from ttplan.engine.replay_spec import ReplaySpec

ROUNDING = 1e-5
"""Costs that differ by less than this share differ by rounding."""
Texts = npt.NDArray[np.object_]
LEAST_PRICED = 30
"""With fewer requests, the log does not tell what a model's tokens cost."""
MOST_UNEXPLAINED = 0.1
"""The share of the variance of a model's costs that its tokens may leave unexplained."""
_TOKENS = ("fresh", "cached", "output", "billed")


class Price(NamedTuple):
    """What tokens cost in a window, USD: each input token, each cached one, each output token, each
    request, and on average each input token of a request, whether it was billed or not."""

    fresh: float
    cached: float
    output: float
    request: float
    input: float

    def of(self, table: Mapping[str, Floats]) -> Floats:
        """The cost of the tokens of each row of a table."""
        rates = (self.fresh, self.cached, self.output, self.request)
        total: Floats = sum(
            (rate * table[name] for rate, name in zip(rates, _TOKENS, strict=True)),
            np.zeros_like(table["billed"]),
        )
        return total


class WindowTables(NamedTuple):
    """Sums of a plan's window: as projected, and as recorded."""

    projected: pa.Table
    recorded: pa.Table


class ReconcileSums(NamedTuple):
    """What `Reconciler` compares, the models whose prices the window does not tell, and how many
    requests of the window count as rerouted although the plan does not move them."""

    window: Sums
    live: Sums
    rates: InputRates
    unpriced: tuple[str, ...]
    there_already: int


def window_tables(
    mapped: ir.Table, window: ir.Table, kind: ir.Value, spec: ReplaySpec, *, marked: bool
) -> WindowTables:
    """Sums of the mapped rows (with `kind`), and of the logged rows of the window, whose `kind` is
    given; `cluster` is the unit of both."""
    if spec.is_full:
        tokens = mapped.moved.ifelse(mapped.new_input, mapped.input_tokens)
        cached = mapped.moved.ifelse(mapped.n_cached + mapped.read, 0).fill_null(0)
        output = mapped.projected_output
    else:
        tokens, cached, output = mapped.input_tokens, mapped.charged, mapped.output_tokens
    rows = mapped.select(
        "kind",
        "moved",
        unit=mapped.cluster,
        rerouted=rerouted_window(mapped, spec, marked=marked),
        model=DIMENSIONS["target_model"](mapped, spec),
        source=mapped.model,
        usd=mapped.projected_usd,
        source_usd=mapped.cost_usd,
        input=tokens,
        source_input=mapped.input_tokens,
        cached=cached,
        output=output,
    )
    logged = window.select(
        unit=window.cluster,
        kind=kind,
        model=window.model,
        usd=window.cost_usd,
        input=window.input_tokens,
        cached=ibis.least(window.cached_tokens, window.input_tokens),
        output=window.output_tokens,
    )
    return WindowTables(
        _fetch(rows, ("unit", "kind", "rerouted", "moved", "model", "source")),
        _fetch(logged, ("unit", "kind", "model")),
    )


def live_table(live: ir.Table, kind: ir.Value, spec: ReplaySpec, *, marked: bool) -> pa.Table:
    """Sums of the logged rows after the window."""
    rows = live.select(
        unit=live.cluster,
        kind=kind,
        rerouted=rerouted_live(live, spec, marked=marked),
        model=live.model,
        usd=live.cost_usd,
        input=live.input_tokens,
        cached=ibis.least(live.cached_tokens, live.input_tokens),
        output=live.output_tokens,
    )
    return _fetch(rows, ("unit", "kind", "rerouted", "model"))


def _fetch(rows: ir.Table, keys: Sequence[str]) -> pa.Table:
    """Exact sums by keys, in the order of the keys. Tokens count if the request was billed."""
    billed = rows.usd > 0
    sums = {
        name: rows[name].sum()
        for name in ("usd", "source_usd", "input", "source_input")
        if name in rows.columns
    }
    tokens = {
        "fresh": rows.input - rows.cached,
        "cached": rows.cached,
        "output": rows.output,
    }
    table = fetch(
        rows.group_by(*keys).aggregate(
            requests=rows.count(),
            billed=billed.sum(),
            **sums,
            **{f"{name}_": amount.sum(where=billed) for name, amount in tokens.items()},
        )
    )
    names = [name.removesuffix("_") for name in table.column_names]
    return table.rename_columns(names).sort_by([(key, "ascending") for key in keys])


def reconcile_sums(tables: WindowTables, live: pa.Table) -> ReconcileSums:
    """The sums to compare, with what the tokens that came cost at the plan's prices.

    The price of a target is that of the plan's projected costs, of every other model that of the
    costs recorded in the window. The costs of a model whose tokens do not explain them, or that the
    window does not have, count as at the plan's prices.
    """
    window, recorded = _columns(tables.projected), _columns(tables.recorded)
    paid = _prices(_texts(tables.recorded, "model"), recorded)
    moved = _flags(tables.projected, "moved")
    served = _texts(tables.projected, "model")
    planned = _prices(served[moved], {name: column[moved] for name, column in window.items()})

    kinds = sorted(tables.projected["kind"].unique().to_pylist())
    place = {kind: n for n, kind in enumerate(kinds)}
    window_sums = _sums(tables.projected, window, place, priced=window["usd"])
    sources = _texts(tables.projected, "source")
    rerouted = window_sums.rerouted
    rate = np.where(moved, _input_rates(served, planned), _input_rates(sources, paid))

    def by_kind(rate: Floats, weights: Floats, own: Flags) -> Floats:
        kind, n = window_sums.kind[own], len(kinds)
        total = np.bincount(kind, weights[own], minlength=n)
        cost = np.bincount(kind, (rate * weights)[own], minlength=n)
        return np.divide(cost, total, out=np.zeros(n), where=total > 0)

    source = by_kind(_input_rates(sources, paid), window_sums.source_input, rerouted)
    others = by_kind(rate, window_sums.input, ~rerouted)
    left = np.bincount(window_sums.kind[~rerouted], minlength=len(kinds)) > 0
    rates = InputRates(
        rerouted=by_kind(rate, window_sums.input, rerouted),
        others=np.where(left, others, source),
        source=source,
    )
    amounts = _columns(live)
    models, sent = _texts(live, "model"), _flags(live, "rerouted")
    known = _places(live, place) >= 0
    priced, unpriced = amounts["usd"].copy(), set()
    for model in sorted(set(models)):
        for flag, first, second in ((True, planned, paid), (False, paid, planned)):
            own = (models == model) & (sent == flag)
            price = first.get(model) or second.get(model)
            if price is not None:
                usd = amounts["usd"][own]
                cost = price.of({name: amounts[name][own] for name in _TOKENS})
                priced[own] = np.where(np.abs(cost - usd) <= ROUNDING * usd, usd, cost)
            elif (own & known & (amounts["usd"] > 0)).any():
                unpriced.add(model)
    return ReconcileSums(
        window=window_sums,
        live=_sums(live, amounts, place, priced=priced),
        rates=rates,
        unpriced=tuple(sorted(unpriced)),
        there_already=int(window["requests"][rerouted & ~moved].sum()),
    )


def _prices(models: Texts, amounts: Mapping[str, Floats]) -> dict[str, Price]:
    """The price of each model whose costs its tokens explain."""
    prices: dict[str, Price] = {}
    for model in sorted(set(models)):
        own = models == model
        price = fit_price({name: column[own] for name, column in amounts.items()})
        if price is not None:
            prices[model] = price
    return prices


def fit_price(amounts: Mapping[str, Floats]) -> Price | None:
    """The price that explains costs by tokens: least squares with no price below 0 (C. L. Lawson,
    R. J. Hanson, *Solving least squares problems*, 1974), each row by its number of requests.

    None if there are few requests, or too much remains unexplained.
    """
    own = amounts["billed"] > 0
    billed = amounts["billed"][own]
    if billed.sum() < LEAST_PRICED or len(billed) < len(_TOKENS):
        return None
    weights = 1 / np.sqrt(billed)
    design = np.stack([amounts[name][own] * weights for name in _TOKENS], axis=1)
    usd = amounts["usd"][own] * weights
    size = np.sqrt((design * design).sum(axis=0))
    size[size == 0] = 1
    scaled, _ = nnls(design / size, usd)
    rates = scaled / size
    unexplained = float(((usd - design @ rates) ** 2).sum())
    mean = amounts["usd"][own].sum() / billed.sum()
    spread = float(((usd - mean * np.sqrt(billed)) ** 2).sum())
    if unexplained > max(MOST_UNEXPLAINED * spread, 1e-6 * float((usd * usd).sum())):
        return None
    fresh, cached = (float(amounts[name].sum()) for name in ("fresh", "cached"))
    tokens = float(amounts["input"].sum())
    per_input = (rates[0] * fresh + rates[1] * cached) / tokens if tokens else 0.0
    input_rate, cached_rate, output_rate, request_rate = map(float, rates)
    return Price(input_rate, cached_rate, output_rate, request_rate, float(per_input))


def _input_rates(models: Texts, prices: Mapping[str, Price]) -> Floats:
    known = {model: prices[model].input if model in prices else 0.0 for model in set(models)}
    return np.array([known[model] for model in models], dtype=float)


def _sums(
    table: pa.Table, amounts: Mapping[str, Floats], place: Mapping[str, int], *, priced: Floats
) -> Sums:
    units = table["unit"].combine_chunks().dictionary_encode()
    cluster = np.asarray(units.indices.fill_null(len(units.dictionary)), dtype=np.int64)
    return Sums(
        clusters=int(cluster.max()) + 1 if len(cluster) else 0,
        cluster=cluster,
        kind=_places(table, place),
        rerouted=_flags(table, "rerouted"),
        requests=amounts["requests"],
        usd=amounts["usd"],
        input=amounts["input"],
        priced=priced,
        source_usd=amounts.get("source_usd", amounts["usd"]),
        source_input=amounts.get("source_input", amounts["input"]),
    )


def _columns(table: pa.Table) -> dict[str, Floats]:
    """The amounts of a table."""
    names = ("requests", "usd", "source_usd", "input", "source_input", *_TOKENS)
    return {
        name: np.asarray(table[name].cast(pa.float64()).fill_null(0.0).to_numpy())
        for name in names
        if name in table.column_names
    }


def _places(table: pa.Table, place: Mapping[str, int]) -> Ints:
    """The position of each row's kind, -1 for other kinds."""
    kinds = table["kind"].combine_chunks().dictionary_encode()
    of = np.array([place.get(kind, -1) for kind in kinds.dictionary.to_pylist()], dtype=np.int64)
    places: Ints = of[np.asarray(kinds.indices)]
    return places


def _texts(table: pa.Table, name: str) -> Texts:
    texts = table[name].combine_chunks().dictionary_encode()
    values = np.array(texts.dictionary.to_pylist(), dtype=np.object_)
    taken: Texts = values[np.asarray(texts.indices)]
    return taken


def _flags(table: pa.Table, name: str) -> Flags:
    return np.asarray(table[name].to_numpy(), dtype=np.bool_)
