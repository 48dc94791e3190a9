"""A plain reading of what changes costs, one request at a time: prices, tokens, caches, fees, and
what was recorded beside the list price."""

from __future__ import annotations

from fractions import Fraction

from tests.oracle_full import FullOracle, Row
from tests.oracle_rates import INPUT, OUTPUT, Rates, rounded, searches, split

NOTHING = Fraction(0)
CAUSES = ("prices", "tokens", "caches", "fees", "recorded")


def causes(oracle: FullOracle) -> dict[str, Fraction]:
    """Actual minus projected cost of all requests by cause, USD."""
    sums = dict.fromkeys(CAUSES, NOTHING)
    for row in oracle.rows:
        for name, amount in of_row(oracle, row).items():
            sums[name] += amount
        if row.hit:
            sums["caches"] += row.cost
    return sums


def of_row(oracle: FullOracle, row: Row) -> dict[str, Fraction]:
    """What changes the cost of a request if no gateway cache answers."""
    if not row.moved:
        attempt = rounded(oracle._attempt(row) * oracle._value(row, "paid_attempts", 0))
        return {"tokens": -attempt, "caches": row.actual - row.cost + attempt}
    again = rounded(row.actual * oracle.redo(row))
    if row.source_rates is None or row.explained is None:
        other = "caches" if row.request.cached else "recorded"
        return {"tokens": -again, other: row.actual - row.cost + again}
    assert row.target_rates is not None
    r, new = row.request, row.new
    media = {
        "in_audio": r.input_audio_tokens or 0,
        "in_image": r.input_image_tokens or 0,
        "out_audio": r.output_audio_tokens or 0,
        "out_image": r.output_image_tokens or 0,
    }
    hidden = min(r.reasoning_tokens or 0, r.output_tokens)
    own = r.input_tokens, r.output_tokens, media | {"reasoning": hidden}
    counted = new["total"], new["output"], {name: new[name] for name in (*media, "reasoning")}
    at_source = without_cache(row.source_rates, *own)
    at_target = without_cache(row.target_rates, *own)
    on_target = without_cache(row.target_rates, *counted)
    fees = [rounded(rates.cost({}, searches(r))) for rates in (row.source_rates, row.target_rates)]
    listed = row.explained
    if row.current is not None and not (row.failed or r.cached):
        listed = row.current
    source_saves = at_source - (row.explained - fees[0])
    target_saves = on_target - (row.listed_target - fees[1])
    parts = {
        "prices": at_source - at_target + listed - row.explained,
        "tokens": at_target - on_target - again,
        "caches": target_saves - source_saves,
        "fees": fees[0] - fees[1],
    }
    # Beside the list price: what was paid, less what of it is paid on the target.
    beside = row.actual - listed - (row.cost - again - row.listed_target)
    if r.cached:
        return parts | {"caches": parts["caches"] + beside}
    return parts | {"recorded": beside}


def without_cache(rates: Rates, prompt: int, answer: int, claims: dict[str, int]) -> Fraction:
    """The price of tokens none of which a provider has cached."""
    parts = split(INPUT, prompt, claims) | split(OUTPUT, answer, claims)
    return rounded(sum((rates.of[name] * n for name, n in parts.items()), NOTHING))
