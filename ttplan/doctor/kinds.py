"""The kinds of findings: their titles, their effect on a plan, and their remedies."""

from __future__ import annotations

from typing import NamedTuple


class FindingKind(NamedTuple):
    """A kind of finding. `weighs`: a plan on this log would be wrong by its effect."""

    title: str
    in_a_plan: str
    remedy: str
    weighs: bool = True


_RECOMPUTE = "import with cost='doctor' (--cost doctor), which recomputes these rows"
_NOTHING = (
    "import with cost='recomputed' (--cost recomputed), by which failed calls without output cost"
    " nothing"
)
_LOW = "the baseline is too low, and so is what a cheaper route saves"
_HIGH = "the baseline is too high, and so is what any route saves"

FINDING_KINDS: dict[str, FindingKind] = {
    "recorded_free": FindingKind(
        "cost recorded as 0, with tokens", f"they count as free: {_LOW}", _RECOMPUTE
    ),
    "cost_missing": FindingKind(
        "no cost recorded",
        "they cannot be replayed as they are",
        "import with cost='doctor' or cost='recomputed'",
    ),
    "cached_in_full": FindingKind("cached tokens billed in full", _HIGH, _RECOMPUTE),
    "writes_as_input": FindingKind("cache writes billed as plain input", _LOW, _RECOMPUTE),
    "tier_ignored": FindingKind("a long prompt's higher rate not billed", _LOW, _RECOMPUTE),
    "media_as_text": FindingKind("audio or image tokens billed as text", _LOW, _RECOMPUTE),
    "searches_ignored": FindingKind(
        "web searches not billed",
        f"{_LOW}, unless your provider grants these searches",
        "import with cost='recomputed' (--cost recomputed), or give the fee that you really pay"
        " in a price file (web_search_usd)",
        weighs=False,
    ),
    "reasoning_lost": FindingKind(
        "reasoning tokens lost",
        f"{_LOW}; where they are missing from the output too, a route is priced without them",
        f"{_RECOMPUTE}; count reasoning in output_tokens where it is not",
    ),
    "constant_factor": FindingKind(
        "off by a constant factor",
        "every saving is off by that factor, since targets are priced at the catalogue's rate",
        "give the rates that you really pay in a price file (--prices), or convert;"
        " or import with cost='recomputed'",
    ),
    "cost_off": FindingKind(
        "differs from the price, with no pattern",
        "a saving is partly a difference of prices",
        "look at the examples; give the rates that you really pay in a price file (prices)",
        weighs=False,
    ),
    "unpriced": FindingKind(
        "no price known",
        "their cost cannot be checked, and no route may target their model",
        "give a price in a price file (prices); `ttplan prices MODEL` shows what is looked for",
        weighs=False,
    ),
    "tokens_missing": FindingKind(
        "tokens missing",
        "a route prices them at less than they are: it seems to save what nobody can save",
        "log the usage of streamed calls too (stream_options.include_usage),"
        " or leave such rows out",
    ),
    "cached_beside_input": FindingKind(
        "more cached tokens than input tokens",
        "the input is counted without its cached part: a route seems cheaper than it is",
        "map input_tokens as the sum of input, cache reads and cache writes",
    ),
    "total_unexplained": FindingKind(
        "a total that no sum of its counts gives",
        "tokens may be missing: a route prices them at less than they are",
        "look at the examples for counts that the sender has in its total and does not log",
    ),
    "cache_hit_billed": FindingKind(
        "answers of the gateway's own cache with a cost", _HIGH, _RECOMPUTE
    ),
    "failed_billed": FindingKind(
        "failed calls with a cost", f"{_HIGH}, unless your provider really bills them", _NOTHING
    ),
    "retry_billed": FindingKind(
        "retries that were billed",
        f"the same request counts twice: {_HIGH}",
        _NOTHING,
    ),
    "repeated_id": FindingKind(
        "the same id in several rows",
        "requests count twice; an import refuses them if they differ",
        "export again, or keep one row of each id",
    ),
    "logged_twice": FindingKind(
        "the same request under several ids",
        "requests count twice, and so do their savings",
        "keep one of each: look for two loggers, or an export with overlapping times",
    ),
    "clock_skew": FindingKind(
        "a time that cannot be",
        "they fall outside every window, and are priced at another day's rate",
        "correct the clock, or the unit of the time column (seconds, milliseconds)",
    ),
    "gap": FindingKind(
        "hours without a request",
        "the window seems longer than what was logged: a month is underestimated",
        "export the missing hours, or plan on a window without them",
        weighs=False,
    ),
    "latency_zero": FindingKind(
        "latency of 0 ms",
        "latency percentiles are too low",
        "map the latency, or leave it out where it was not measured",
        weighs=False,
    ),
    "totals_differ": FindingKind(
        "the provider's own totals differ",
        "the log has not all that the provider counted, or more",
        "compare the days that differ: look for keys or services that do not log here",
    ),
}
