"""Compare the exports with the decisions of the gateways themselves.

A manual check: LiteLLM takes some 380 MB, too much for each test run.

    python -m venv build/litellm && build/litellm/bin/pip install litellm
    python scripts/check_gateways.py --litellm build/litellm/bin/python --routes 200
    cargo build --release --manifest-path benchmarks/peer/Cargo.toml
    python scripts/check_gateways.py \\
        --tokentrimmer benchmarks/peer/target/release/ttplan-peer-routes

LiteLLM's own Router loads each config, offline, and returns the deployment for a request of each
model and tag, which must be what the routes say. TokenTrimmer's published routing engine
(tt-routing) reads each route and returns the one that matches a request.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.gateways.decisions import MODELS, REQUESTS, TAGS, decide_by_routes
from tests.oracle import pick
from tests.support import universe
from ttplan.gateways.litellm import to_litellm
from ttplan.gateways.tokentrimmer import to_tokentrimmer
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

# Runs in LiteLLM's environment, without ttplan: a line of JSON in, a line out.
LITELLM_SCRIPT = """
import asyncio, json, os, sys, warnings
warnings.simplefilter("ignore")
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
from litellm import Router

async def answer(router, model, tag):
    tags = {"metadata": {"tags": [tag]}} if tag is not None else {"metadata": {}}
    messages = [{"role": "user", "content": "hello"}]
    try:
        deployment = await router.async_get_available_deployment(
            model=model, request_kwargs=tags, messages=messages
        )
    except Exception as error:
        return type(error).__name__
    return deployment["litellm_params"]["model"]

for line in sys.stdin:
    config, requests = json.loads(line)
    for entry in config["model_list"]:
        entry["litellm_params"]["api_key"] = "none"
    router = Router(model_list=config["model_list"], **config.get("router_settings", {}))
    answers = [asyncio.run(answer(router, model, tag)) for model, tag in requests]
    print("#" + json.dumps(answers), flush=True)
"""
PROVIDERS = {"gpt-4o": "openai", "gpt-4o-mini": "openai", "claude-haiku-4-5": "anthropic"}


def make_routes(seed: int) -> list[ProposedRoute]:
    """Return routes that select by model and tag, some with ties, fallbacks or any model."""
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    return [
        ProposedRoute(
            id=UUID(int=draw.randrange(2**64)),
            name=f"route {number}",
            priority=draw.randrange(3),
            enabled=draw.random() < 0.9,
            when=RouteConditions(
                model_in=tuple(draw.sample(MODELS, draw.randrange(3))),
                tag_equals=draw.choice([None, None, *TAGS]),
            ),
            then=RouteAction(
                target_model=draw.choice([*MODELS, "gemini-2.5-flash"]),
                fallbacks=tuple(draw.sample(MODELS, draw.choice([0, 0, 1, 2]))),
            ),
        )
        for number in range(draw.randrange(1, 6))
    ]


def provider_model(model: str) -> str:
    return f"{PROVIDERS.get(model, 'gemini')}/{model}"


def check_litellm(python: str, count: int) -> int:
    """Count the configs for which LiteLLM decides differently from the routes."""
    routes = [make_routes(seed) for seed in range(count)]
    configs = [to_litellm(route_set, provider_model).content for route_set in routes]
    lines = "".join(json.dumps([config, REQUESTS]) + "\n" for config in configs)
    ran = subprocess.run(  # noqa: S603
        [python, "-c", LITELLM_SCRIPT], input=lines, capture_output=True, text=True, check=False
    )
    answers = [json.loads(line[1:]) for line in ran.stdout.splitlines() if line.startswith("#")]
    if len(answers) != count:
        print(ran.stderr[-2000:], file=sys.stderr)
        raise SystemExit(f"LiteLLM loaded {len(answers)} of {count} configs")
    wrong = sum(map(_differs, routes, configs, answers))
    print(
        f"LiteLLM: {count:,} configs loaded, {count * len(REQUESTS):,} requests compared, "
        f"{wrong:,} configs decide differently"
    )
    return wrong


def _differs(routes: list[ProposedRoute], config: dict[str, Any], answers: list[str]) -> bool:
    named = {entry["model_name"] for entry in config["model_list"]}
    for (model, tag), answer in zip(REQUESTS, answers, strict=True):
        expected = decide_by_routes(routes, model, tag).model
        if model not in named and "*" not in named:
            continue  # the config does not mention the model
        if answer.split("/", 1)[-1] != expected:
            print(
                f"{model} tagged {tag}: LiteLLM selects {answer}, the routes {expected}: "
                f"{json.dumps(config)}"
            )
            return True
    return False


def check_tokentrimmer(binary: str, count: int) -> int:
    """Count the sets of routes for which TokenTrimmer decides differently."""
    routes = [list(make_conditioned_routes(seed)) for seed in range(count)]
    rows = make_requests()
    plain = [
        {
            "model": row.model,
            "tag": row.tag,
            "tokens": row.input_tokens,
            "cost": float(row.baseline_cost_usd),
        }
        for row in rows
    ]
    lines = "".join(
        json.dumps({"routes": to_tokentrimmer(route_set).content, "asked": plain}) + "\n"
        for route_set in routes
    )
    ran = subprocess.run(  # noqa: S603
        [binary], input=lines, capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    expected = [
        [None if (route := pick(route_set, row)) is None else route.name for row in rows]
        for route_set in routes
    ]
    wrong = sum(bool(a != b) for a, b in zip(answers, expected, strict=True))
    print(
        f"TokenTrimmer: {count:,} sets of routes read, {count * len(rows):,} requests compared, "
        f"{wrong:,} sets decide differently"
    )
    return wrong


def make_conditioned_routes(seed: int) -> Iterator[ProposedRoute]:
    """Yield the routes of a seed, with bounds on tokens and cost, too."""
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    for route in make_routes(seed):
        bounds = {
            "input_tokens_lt": draw.choice([None, None, 100, 1000]),
            "input_tokens_gt": draw.choice([None, None, 50]),
            "estimated_cost_gt": draw.choice([None, None, Decimal("0.01")]),
            "estimated_cost_lt": draw.choice([None, None, Decimal("0.02")]),
        }
        yield route.model_copy(update={"when": route.when.model_copy(update=bounds)})


def make_requests() -> list[RequestLog]:
    """Return a request of each model, tag, size and cost, on both sides of every bound."""
    (template,) = universe.log(1, seed=0)
    return [
        template.model_copy(
            update={"model": model, "tag": tag, "input_tokens": tokens, "baseline_cost_usd": cost}
        )
        for model, tag in REQUESTS
        for tokens in (50, 51, 100, 999)
        for cost in (Decimal("0.01"), Decimal("0.015"), Decimal("0.02"))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--litellm", help="a Python that has LiteLLM")
    parser.add_argument("--tokentrimmer", help="the program ttplan-peer-routes")
    parser.add_argument("--routes", type=int, default=200, help="how many sets of routes")
    arguments = parser.parse_args()
    wrong = check_litellm(arguments.litellm, arguments.routes) if arguments.litellm else 0
    wrong += (
        check_tokentrimmer(arguments.tokentrimmer, arguments.routes)
        if arguments.tokentrimmer
        else 0
    )
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
