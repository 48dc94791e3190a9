"""LiteLLM's router config: what it can express, what it cannot, and reading it back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from tests.gateways.decisions import REQUESTS, decide_by_config, decide_by_routes, supported_routes
from tests.support import plans
from ttplan.gateways.litellm import to_litellm
from ttplan.gateways.read_litellm import from_litellm
from ttplan.model.errors import InputError
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions


def add_provider(model: str) -> str:
    return f"openai/{model}"


def route(
    number: int, target: str = "gpt-4o-mini", *, fallbacks: tuple[str, ...] = (), **when: Any
) -> ProposedRoute:
    return plans.route(
        number,
        when=RouteConditions(**when),
        then=RouteAction(target_model=target, fallbacks=fallbacks),
    )


@given(supported_routes())
def test_the_config_sends_each_request_where_the_routes_do(routes: list[ProposedRoute]) -> None:
    rendered = to_litellm(routes, add_provider)
    assert {loss.field for loss in rendered.losses} <= {"then.fallbacks"}
    lost = {loss.route for loss in rendered.losses}
    for model, tag in REQUESTS:
        expected, got = (
            decide_by_routes(routes, model, tag),
            decide_by_config(rendered.content, model, tag),
        )
        assert got.model == expected.model
        # Fallbacks that would also apply to other requests are lost, and reported for the route.
        taken = next(
            (
                r
                for r in sorted(routes, key=lambda r: (-r.priority, r.id))
                if r.enabled and _takes(r, model, tag)
            ),
            None,
        )
        assert got.fallbacks == expected.fallbacks or (
            not got.fallbacks and taken is not None and taken.name in lost
        )


def _takes(route: ProposedRoute, model: str, tag: str | None) -> bool:
    return (not route.when.model_in or model in route.when.model_in) and route.when.tag_equals in (
        None,
        tag,
    )


@given(supported_routes())
def test_a_config_that_is_read_back_comes_to_the_same(routes: list[ProposedRoute]) -> None:
    content = to_litellm(routes, add_provider).content
    read = from_litellm(content, "config.yaml")
    assert read.losses == []
    for model, tag in REQUESTS:
        assert decide_by_routes(read.routes, model, tag) == decide_by_config(content, model, tag)


def test_a_tagged_route_is_a_deployment_beside_the_default_one() -> None:
    rendered = to_litellm([route(1, model_in=("gpt-4o",), tag_equals="chat")], add_provider)
    assert rendered.content == {
        "model_list": [
            {
                "model_name": "gpt-4o",
                "litellm_params": {"model": "openai/gpt-4o-mini", "tags": ["chat"]},
                "model_info": {"id": "00000000-0000-0000-0000-000000000001/gpt-4o"},
            },
            {
                "model_name": "gpt-4o",
                "litellm_params": {"model": "openai/gpt-4o", "tags": ["default"]},
            },
        ],
        "router_settings": {"enable_tag_filtering": True},
    }
    assert rendered.losses == []


def test_a_routed_fallback_gets_its_own_group() -> None:
    routes = [route(1, model_in=("a",), fallbacks=("b", "c")), route(2, "d", model_in=("b",))]
    content = to_litellm(routes, add_provider).content
    assert content["router_settings"] == {"fallbacks": [{"a": ["b (fallback)", "c"]}]}
    assert {
        deployment["model_name"]: deployment["litellm_params"]["model"]
        for deployment in content["model_list"]
    } == {
        "a": "openai/gpt-4o-mini",
        "b": "openai/d",
        "b (fallback)": "openai/b",
        "c": "openai/c",
    }


@pytest.mark.parametrize(
    ("when", "field"),
    [
        ({"input_tokens_lt": 5}, "when.input_tokens_lt"),
        ({"input_tokens_gt": 0}, "when.input_tokens_gt"),
        ({"has_images": False}, "when.has_images"),
        ({"has_audio": True}, "when.has_audio"),
        ({"prompt_contains_any_of": ("x",)}, "when.prompt_contains_any_of"),
        ({"estimated_cost_gt": Decimal(0)}, "when.estimated_cost_gt"),
        ({"estimated_cost_lt": Decimal(1)}, "when.estimated_cost_lt"),
        ({"tag_equals": ""}, "when.tag_equals"),
        ({"tag_equals": "default"}, "when.tag_equals"),
        ({"tag_equals": "!chat"}, "when.tag_equals"),
        ({"model_in": ("gpt-*",)}, "when.model_in"),
    ],
)
def test_an_unsupported_condition_leaves_the_route_out(when: dict[str, Any], field: str) -> None:
    rendered = to_litellm([route(1, **when)], add_provider)
    assert [(loss.route, loss.field, loss.effect) for loss in rendered.losses] == [
        ("route 1", field, "is left out")
    ]
    assert rendered.content == {"model_list": []}


def test_a_sticky_route_is_left_out() -> None:
    sticky = route(1, model_in=("a",)).model_copy(update={"sticky": "session"})
    rendered = to_litellm([sticky, route(2, model_in=("b",))], add_provider)
    assert list(map(str, rendered.losses)) == [
        "route 'route 1', sticky: its session affinity holds within a model group and a tag, "
        "not for a whole session; the route is left out"
    ]
    assert {entry["model_name"] for entry in rendered.content["model_list"]} == {"b"}


def test_an_unsupported_action_is_reported() -> None:
    then = RouteAction(target_model="m", disable_cache=True, max_cost_usd=Decimal(1))
    rendered = to_litellm(
        [plans.route(1, when=RouteConditions(model_in=("a",)), then=then)], add_provider
    )
    assert [(loss.field, loss.effect) for loss in rendered.losses] == [
        ("then.disable_cache", "goes without it"),
        ("then.max_cost_usd", "goes without it"),
    ]
    assert len(rendered.content["model_list"]) == 1


def test_disabled_routes_are_not_in_it() -> None:
    rendered = to_litellm(
        [route(1, model_in=("a",)).model_copy(update={"enabled": False})], add_provider
    )
    assert rendered.content == {"model_list": []}
    assert any("1 disabled route is not" in note for note in rendered.notes)


# --- reading ------------------------------------------------------------------


def test_a_handwritten_config_is_read() -> None:
    read = from_litellm(
        {
            "model_list": [
                {
                    "model_name": "gpt-4o",
                    "litellm_params": {"model": "openai/gpt-4o", "api_key": "os.environ/KEY"},
                },
                {"model_name": "cheap", "litellm_params": {"model": "anthropic/claude-haiku-4-5"}},
                {
                    "model_name": "cheap",
                    "litellm_params": {"model": "anthropic/claude-haiku-4-5", "api_key": "another"},
                },
                {"model_name": "local", "litellm_params": {"model": "ollama/llama3"}},
            ],
            "litellm_settings": {"fallbacks": [{"gpt-4o": ["cheap"]}]},
            "general_settings": {"master_key": "sk"},
        },
        "config.yaml",
    )
    assert [
        (route.name, route.when.model_in, route.then.target_model, route.then.fallbacks)
        for route in read.routes
    ] == [
        ("gpt-4o", ("gpt-4o",), "gpt-4o", ("claude-haiku-4-5",)),
        ("cheap", ("cheap",), "claude-haiku-4-5", ()),
        ("local", ("local",), "ollama/llama3", ()),
    ]
    assert read.losses == []


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"model_list": [("a", "openai/x"), ("a", "openai/y")]}, "litellm_params.model"),
        ({"model_list": [("gpt-*", "openai/gpt-4o")]}, "model_name"),
        (
            {
                "model_list": [("a", "openai/a")],
                "router_settings": {"model_group_alias": {"b": "a"}},
            },
            "router_settings.model_group_alias",
        ),
        (
            {
                "model_list": [("a", "x/a", ["t"])],
                "router_settings": {"enable_tag_filtering": True},
            },
            "litellm_params.tags",
        ),
        (
            {
                "model_list": [("a", "x/b"), ("c", "x/d"), ("c", "x/e")],
                "router_settings": {"fallbacks": [{"a": ["c"]}]},
            },
            "fallbacks",
        ),
    ],
)
def test_fields_unknown_to_plans_are_reported(config: dict[str, Any], field: str) -> None:
    listed = [
        {
            "model_name": name,
            "litellm_params": {"model": model} | ({"tags": tags[0]} if tags else {}),
        }
        for name, model, *tags in config["model_list"]
    ]
    assert field in {
        loss.field for loss in from_litellm(config | {"model_list": listed}, "c").losses
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected a LiteLLM config with a model_list"),
        (
            {"model_list": [{"model_name": "a"}]},
            "entry 1: expected model_name and litellm_params.model",
        ),
        ({"model_list": [], "router_settings": 3}, "router_settings: expected a mapping"),
        (
            {"model_list": [], "router_settings": {"fallbacks": [{"a": "b"}]}},
            "fallbacks: expected a list of mappings",
        ),
        (
            {"model_list": [], "router_settings": {"fallbacks": [{"a": ["b"]}]}},
            "no model group 'a'",
        ),
    ],
)
def test_malformed_configs_are_refused(content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_litellm(content, "c.yaml")
