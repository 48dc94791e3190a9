"""The columns of every view: their types and their meaning. A name means the same in every view."""

from __future__ import annotations

TIMESTAMP = "datetime64[us, UTC]"
NUMBER = "float64"
MONEY = NUMBER
"""USD, in columns whose names end in `_usd`: the nearest float, or `EXACT` if exact amounts are
requested."""
EXACT_DIGITS = (28, 12)
EXACT = "decimal128({}, {})[pyarrow]".format(*EXACT_DIGITS)

PLANS = {
    "plan_id": "string",
    "name": "string",
    "status": "string",
    "created_at": TIMESTAMP,
    "applied_at": TIMESTAMP,
    "reverted_at": TIMESTAMP,
    "window_start": TIMESTAMP,
    "window_end": TIMESTAMP,
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
    "per_month_usd": MONEY,
    "per_month_usd_lo": NUMBER,
    "per_month_usd_hi": NUMBER,
    "p50_latency_ms": NUMBER,
    "p95_latency_ms": NUMBER,
    "caveats": "Int64",
}
"""Columns of `Workspace.plans`: one row per plan, oldest first; a failed plan has no figures."""
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
    "saved_already_usd": MONEY,
    "change_vs_actual_usd": MONEY,
    "change_vs_actual_usd_lo": NUMBER,
    "change_vs_actual_usd_hi": NUMBER,
    "per_month_usd": MONEY,
    "per_month_usd_lo": NUMBER,
    "per_month_usd_hi": NUMBER,
}
"""Columns of `Workspace.savings`: one row per plan. With `by`, its columns (`SAVINGS_BY`) follow
`status`, and there are none per month."""
SAVINGS_BY = {
    "route": "string",
    "tag": "string",
    "model": "string",
    "target_model": "string",
    "day": TIMESTAMP,
}
"""The columns that savings can be grouped by."""
SAVINGS_BY_CAUSE = {
    "plan_id": "string",
    "name": "string",
    "status": "string",
    "cause": "string",
    "change_vs_actual_usd": MONEY,
    "change_vs_actual_usd_lo": NUMBER,
    "change_vs_actual_usd_hi": NUMBER,
}
"""Columns of `Workspace.savings("cause")`: one row per cause of a plan's change, in their order."""
LATENCIES = {
    "plan_id": "string",
    "name": "string",
    "latency_ms": "Int64",
    "then": "Int64",
    "now": "Int64",
}
"""Columns of `Workspace.latencies`: one row per latency, in ms, that a request had or would
have."""
ASSUMPTIONS = {
    "plan_id": "string",
    "assumption": "string",
    "target_model": "string",
    "value": NUMBER,
    "standard_error": NUMBER,
    "unit": "string",
    "source": "string",
    "effect_usd": NUMBER,
    "break_even": NUMBER,
    "low_usd": NUMBER,
    "high_usd": NUMBER,
    "slope_usd": NUMBER,
    "requests": "Int64",
    "model": "string",
    "route": "string",
    "scope": "string",
    "meaning": "string",
    "note": "string",
}
"""Columns of `Workspace.assumptions`: one row per assumption of a full projection, those first that
can change most."""
ROUTES = {
    "name": "string",
    "priority": "Int64",
    "enabled": "boolean",
    "target_model": "string",
    "conditions": "string",
    "plan_id": "string",
    "applied_at": TIMESTAMP,
    "route_id": "string",
}
"""Columns of `Workspace.routes`: one row per live route, by precedence."""
ROUTE_HISTORY = {
    "since": TIMESTAMP,
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
"""Columns of `Workspace.route_history`: each change of a route, with the entry and the plan that
made it.

`name` is the route's name at that time. `renamed_to` is set if the change gave the route another
name."""
REQUESTS = {
    "id": "string",
    "ts": TIMESTAMP,
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
"""Columns of `Workspace.requests`: a page of the logged requests by time and id, without prompts
and answers."""
ENTRIES = {
    "seq": "Int64",
    "time": TIMESTAMP,
    "event": "string",
    "actor": "string",
    "plan_id": "string",
    "payload": "string",
    "hash": "string",
}
"""Columns of `Workspace.entries`: a page of the audit chain's entries, by seq."""
VIEWS = {
    "plans": PLANS,
    "savings": SAVINGS,
    "savings, by": SAVINGS_BY,
    "savings, by cause": SAVINGS_BY_CAUSE,
    "latencies": LATENCIES,
    "assumptions": ASSUMPTIONS,
    "routes": ROUTES,
    "route_history": ROUTE_HISTORY,
    "requests": REQUESTS,
    "entries": ENTRIES,
}

DESCRIPTIONS = {
    "actor": "who did it: `user` or `api_key` with an id, `system`, `anonymous`",
    "actual_usd": "what was paid for the window's requests",
    "applied_at": "when the plan, or the route, went live",
    "assumption": "the assumption's name, as in a plan file",
    "baseline_cost_usd": "what the request would have cost without routing or caching",
    "baseline_usd": "what the window's requests would have cost without routing or caching",
    "break_even": (
        "the value at which the plan saves nothing, all others held; empty: there is none"
    ),
    "cache_layer": "the cache level that answered: `l1`, `l2`",
    "cached": "whether a cache answered",
    "cached_tokens": "input tokens that the provider had cached",
    "cause": (
        "what changes costs, in this order: `prices`, `tokens`, `caches`, `fees`, `recorded` (what "
        "list prices do not explain)"
    ),
    "caveats": "number of caveats on the plan's card",
    "change_vs_actual_usd": (
        "actual minus projected: what applying the plan saves; negative: it costs more than is paid"
    ),
    "change_vs_actual_usd_hi": "upper end of its 95 % interval",
    "change_vs_actual_usd_lo": "lower end of its 95 % interval",
    "conditions": (
        "when the route takes a request, on one line; `any`: always; `sticky=session`: asked of a "
        "session's first request"
    ),
    "cost_usd": "what was paid for the request",
    "created_at": "when the plan was made",
    "day": "start of the day, UTC",
    "effect_usd": "what the plan saves with this value minus what it saves with the neutral one",
    "enabled": "whether the route takes requests",
    "event": "what happened: `plan.applied`, `plan.reverted`, …",
    "finish_reason": "why the answer ended",
    "hash": "the entry's hash, 64 hex digits",
    "high_usd": "what the plan saves at the upper end of what the value can be, if that is known",
    "id": "the request's id",
    "input_tokens": "tokens of the prompt, including cached ones",
    "latency_ms": "how long the answer took, or would take",
    "live": "whether a route of that name is live after the change",
    "low_usd": "what the plan saves at the lower end",
    "matched_route_id": "the route that the gateway used",
    "meaning": "what the value is",
    "model": "the model that answered; empty: several did",
    "name": "the plan's name, or the route's",
    "note": "how the value was obtained",
    "now": "how many requests would take that long",
    "output_tokens": "tokens of the answer",
    "p50_latency_ms": "median latency, projected",
    "p95_latency_ms": "95th percentile of latency, projected",
    "payload": "the entry's content, as JSON",
    "per_month_usd": (
        "actual minus projected of a coming month of 30.44 days, at the plan's prices; empty: not "
        "known"
    ),
    "per_month_usd_hi": "upper end of its 95 % prediction interval",
    "per_month_usd_lo": "lower end of its 95 % prediction interval",
    "plan": "the plan's name",
    "plan_id": "the plan's id",
    "priority": "routes are tried by priority, highest first",
    "projected_usd": "what the window's requests would cost with the plan's routes",
    "provider": "who served the model",
    "requests": "requests in the window, or in this group, or that the assumption is about",
    "rerouted": "requests that a route takes",
    "renamed_to": "the route's later name, if it was renamed",
    "reverted_at": "when the plan was reverted",
    "route": "the route that takes the requests; empty: none does, or several do",
    "route_id": "the route's id",
    "savings_pct": "savings in percent of the baseline",
    "savings_usd": "baseline minus projected; negative: it costs more than the baseline",
    "savings_usd_hi": "upper end of its 95 % interval",
    "savings_usd_lo": "lower end of its 95 % interval; empty: there is no interval",
    "saved_already_usd": (
        "baseline minus actual: what today's routing and caches save without the plan"
    ),
    "scope": "`gateway`: the cost applies to every model; `model`: to the old one only",
    "seq": "the entry's position in the chain, from 0",
    "session_id": "the session that the request belongs to",
    "since": "time of the change",
    "slope_usd": (
        "what the plan saves more if the value is larger by 1; empty: savings are not linear in it"
    ),
    "source": (
        "where the value comes from: `user`, `rollout`, `judged`, `log`, `catalogue`; `none`: it "
        "is not known"
    ),
    "source_id": "the request's id in its log, if it differs from `id`",
    "standard_error": "the standard error of the value; empty: it has none",
    "status": "`projected`, `applied`, `reverted` or `failed`; of a request: the HTTP status",
    "tag": "the request's tag; empty: it has none",
    "target_model": "the model that requests go to; empty: several",
    "then": "how many requests took that long",
    "time": "when the entry was written, according to the entry",
    "unit": "the unit of the value: `times` the source's, a `share` from 0 to 1, or `tokens`",
    "value": "the value that the projection uses",
    "ts": "when the request arrived",
    "window_end": "end of the window, exclusive",
    "window_start": "start of the window, inclusive",
}
"""What a column holds. USD are per window of the plan, unless they belong to one request."""
