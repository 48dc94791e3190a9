"""The columns of every view: their types, and what they mean. A name means the same wherever it stands."""

from __future__ import annotations

MOMENT = "datetime64[us, UTC]"
NUMBER = "float64"
MONEY = NUMBER
"""USD, in columns whose names end in `_usd`: the float nearest to the amount, with which one can reckon; asked for exact amounts,
`EXACT`."""
EXACT_DIGITS = (28, 12)
EXACT = "decimal128({}, {})[pyarrow]".format(*EXACT_DIGITS)

PLANS = {
    "plan_id": "string",
    "name": "string",
    "status": "string",
    "created_at": MOMENT,
    "applied_at": MOMENT,
    "reverted_at": MOMENT,
    "window_start": MOMENT,
    "window_end": MOMENT,
    "requests": "Int64",
    "rerouted": "Int64",
    "baseline_usd": MONEY,
    "actual_usd": MONEY,
    "projected_usd": MONEY,
    "savings_usd": MONEY,
    "savings_usd_lo": NUMBER,
    "savings_usd_hi": NUMBER,
    "change_vs_actual_usd": MONEY,
    "change_vs_actual_usd_lo": NUMBER,
    "change_vs_actual_usd_hi": NUMBER,
    "p50_latency_ms": NUMBER,
    "p95_latency_ms": NUMBER,
    "caveats": "Int64",
}
"""Columns of `Workspace.plans`: a row a plan, oldest first; a failed one has no figures."""
SAVINGS = {
    "plan_id": "string",
    "name": "string",
    "status": "string",
    "requests": "Int64",
    "baseline_usd": MONEY,
    "actual_usd": MONEY,
    "projected_usd": MONEY,
    "savings_usd": MONEY,
    "savings_usd_lo": NUMBER,
    "savings_usd_hi": NUMBER,
    "savings_pct": NUMBER,
    "change_vs_actual_usd": MONEY,
    "change_vs_actual_usd_lo": NUMBER,
    "change_vs_actual_usd_hi": NUMBER,
}
"""Columns of `Workspace.savings`: a row a plan, or, after `status`, one column for each of what they are `by` (`PARTS`)."""
PARTS = {
    "route": "string",
    "tag": "string",
    "model": "string",
    "target_model": "string",
    "day": MOMENT,
}
"""What savings can be told apart by."""
LATENCIES = {
    "plan_id": "string",
    "name": "string",
    "latency_ms": "Int64",
    "then": "Int64",
    "now": "Int64",
}
"""Columns of `Workspace.latencies`: a row for each latency that a request had, or would have."""
ROUTES = {
    "name": "string",
    "priority": "Int64",
    "enabled": "boolean",
    "target_model": "string",
    "conditions": "string",
    "plan_id": "string",
    "applied_at": MOMENT,
    "route_id": "string",
}
"""Columns of `Workspace.routes`: a row a live route, by precedence."""
HISTORY = {
    "since": MOMENT,
    "event": "string",
    "plan_id": "string",
    "plan": "string",
    "name": "string",
    "live": "boolean",
    "renamed_to": "string",
    "priority": "Int64",
    "enabled": "boolean",
    "target_model": "string",
    "conditions": "string",
    "seq": "Int64",
}
"""Columns of `Workspace.route_history`: what is live since each moment, which entry says so, and which plan did it.

`name` is the route's name then. Where nothing is live under it any more since the route got another one, that is `renamed_to`."""
REQUESTS = {
    "id": "string",
    "ts": MOMENT,
    "provider": "string",
    "model": "string",
    "tag": "string",
    "status": "Int64",
    "input_tokens": "Int64",
    "output_tokens": "Int64",
    "cached_tokens": "Int64",
    "cost_usd": MONEY,
    "baseline_cost_usd": MONEY,
    "cached": "boolean",
    "cache_layer": "string",
    "latency_ms": "Int64",
    "matched_route_id": "string",
    "finish_reason": "string",
    "session_id": "string",
    "source_id": "string",
}
"""Columns of `Workspace.requests`: a page of the logged requests, in the order of time and id; no prompts, no answers."""
CHAIN = {
    "seq": "Int64",
    "time": MOMENT,
    "event": "string",
    "actor": "string",
    "plan_id": "string",
    "payload": "string",
    "hash": "string",
}
"""Columns of `Workspace.chain`: a page of the audit chain's entries, by seq."""
VIEWS = {
    "plans": PLANS,
    "savings": SAVINGS,
    "savings, by": PARTS,
    "latencies": LATENCIES,
    "routes": ROUTES,
    "route_history": HISTORY,
    "requests": REQUESTS,
    "chain": CHAIN,
}

MEANINGS = {
    "actor": "who did it: `user` or `api_key` with an id, `system`, `anonymous`",
    "actual_usd": "what was paid for the window's requests",
    "applied_at": "when the plan, or the route, went live",
    "baseline_cost_usd": "what the request would have cost with no routing or caching",
    "baseline_usd": "what the window's requests would have cost with no routing or caching",
    "cache_layer": "which cache level answered: `l1`, `l2`",
    "cached": "whether a cache answered",
    "cached_tokens": "input tokens that the provider had cached",
    "caveats": "how many caveats the plan's card has",
    "change_vs_actual_usd": "actual minus projected: what applying the plan changes; negative: it costs more than is paid",
    "change_vs_actual_usd_hi": "upper end of its 95 % interval",
    "change_vs_actual_usd_lo": "lower end of its 95 % interval",
    "conditions": "when the route takes a request, in one line; `any`: always",
    "cost_usd": "what was paid for the request",
    "created_at": "when the plan was made",
    "day": "the beginning of the day, UTC",
    "enabled": "whether the route takes requests",
    "event": "what happened: `plan.applied`, `plan.reverted`, …",
    "finish_reason": "why the answer ended",
    "hash": "the entry's hash, 64 hex digits",
    "id": "the request's id",
    "input_tokens": "tokens of the prompt, the cached ones included",
    "latency_ms": "how long the answer took, or would take",
    "live": "whether a route of that name is live since",
    "matched_route_id": "the route that the gateway took",
    "model": "the model that answered",
    "name": "the plan's name, or the route's",
    "now": "how many requests would take that long",
    "output_tokens": "tokens of the answer",
    "p50_latency_ms": "median latency, projected",
    "p95_latency_ms": "95th percentile of latency, projected",
    "payload": "what the entry says, as JSON",
    "plan": "the plan's name",
    "plan_id": "the plan",
    "priority": "routes are tried by priority, highest first",
    "projected_usd": "what the window's requests would cost with the plan's routes",
    "provider": "who served the model",
    "requests": "requests in the window, or in this part of it",
    "rerouted": "of them, those that a route takes",
    "renamed_to": "the name that the route has since, where it was renamed",
    "reverted_at": "when the plan was reverted",
    "route": "the route that takes them; empty: none does",
    "route_id": "the route's id",
    "savings_pct": "savings in percent of the baseline",
    "savings_usd": "baseline minus projected; negative: it costs more than the baseline",
    "savings_usd_hi": "upper end of its 95 % interval",
    "savings_usd_lo": "lower end of its 95 % interval; empty: there is no interval",
    "seq": "the entry's place in the chain, from 0",
    "session_id": "which requests belong together",
    "since": "the moment of the change",
    "source_id": "the request's id in the log that it came from, where that is another one",
    "status": "`projected`, `applied`, `reverted` or `failed`; of a request, the HTTP status",
    "tag": "the request's tag; empty: it has none",
    "target_model": "the model that requests go to",
    "then": "how many requests took that long",
    "time": "when the entry was written, as it says",
    "ts": "when the request came",
    "window_end": "the first moment after the window",
    "window_start": "the first moment of the window",
}
"""What a column holds. USD are per window of the plan, unless they are of one request."""
