"""How providers, gateways and tracing tools spell the counts of a request's usage.

A spelling is a path into a usage object. Case, underscores, and whether the object is nested or has
whole paths as keys do not matter: `prompt_tokens_details.cached_tokens` is also
`promptTokensDetails.cachedTokens` and the one key `"prompt_tokens_details.cached_tokens"`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple


class Spellings(NamedTuple):
    """The spellings of one count, separated by spaces.

    By their documentation, senders count the ones in `inside` as a part of the input or output, the
    ones in `beside` in addition to it.
    """

    inside: str = ""
    beside: str = ""


class Meaning(NamedTuple):
    """What a path means: a count or text, whether it is counted beside its whole, and whether it is
    an input that contains its parts."""

    name: str
    beside: bool = False
    is_sum: bool = False


def _in(parents: str, names: str) -> str:
    return " ".join(f"{parent}.{name}" for parent in parents.split() for name in names.split())


_INPUT = (
    "prompt_tokens_details input_tokens_details input_token_details prompt_details"
    " prompt_token_details"
)
_OUTPUT = (
    "completion_tokens_details output_tokens_details output_token_details completion_details"
    " completion_token_details candidates_tokens_details"
)
_CREATION = (
    "cache_creation cache_creation_token_details cache_creation_tokens_details cache_write_details"
)


def _writes(hold: str) -> str:
    """Cache writes that last as long as `hold` says."""
    name = f"ephemeral_{hold}_input_tokens"
    shapes = (
        "cache_creation_{} cache_write_{} cache_creation_{}_input_tokens cache_creation_{}_tokens"
        " cache_write_{}_input_tokens cache_write_{}_tokens cache_creation_input_tokens_{}"
        " cache_write_tokens_{} cache_creation_tokens_{} cache_creation_ephemeral_{}_input_tokens"
    ).replace("{}", hold)
    own = f"{name} {shapes}"
    prefixed = " ".join(f"input_{text}" for text in own.split())
    return " ".join(
        (
            own,
            prefixed,
            _in(_CREATION, f"{name} ephemeral_{hold} {hold}"),
            _in(_in(_INPUT, _CREATION), name),
            _in(_INPUT, own),
            f"cache_details.{hold}",
        )
    )


def _media(kind: str, details: str, sides: str) -> str:
    """Counts of a medium on one side of a request."""
    plain = " ".join(
        f"{side}_{kind}_tokens {side}_{kind} {kind}.{side}_tokens" for side in sides.split()
    )
    return f"{_in(details, f'{kind}_tokens {kind}')} {plain}"


COUNTS: dict[str, Spellings] = {
    "input": Spellings(
        "prompt_tokens input_tokens prompt_token_count input_token_count input prompt tokens"
        " input_text"
    ),
    "output": Spellings(
        "completion_tokens output_tokens candidates_token_count output_token_count"
        " response_token_count output completion output_text"
    ),
    "total": Spellings("total_tokens total_token_count total"),
    # The input that was neither read from a cache nor written to one.
    "uncached": Spellings(
        "uncached_input_tokens prompt_cache_miss_tokens " + _in(_INPUT, "no_cache_tokens")
    ),
    "cached": Spellings(
        inside=_in(
            _INPUT,
            "cached_tokens cached cache_read cache_read_tokens cache_read_input_tokens cache_input",
        )
        + " cached_tokens cached_input_tokens cached_content_token_count prompt_cache_hit_tokens"
        " cache_read_tokens prompt_cache_read_tokens cached_prompt_tokens input_cached_tokens"
        " cache_read.input_tokens cache_tokens cached_content_tokens",
        beside="cache_read_input_tokens cache_read_input_token_count cache.read cache_read"
        " input_cache_read input_cache_read_input_tokens input_cache_read_tokens",
    ),
    "write": Spellings(
        inside=_in(
            _INPUT,
            "cache_write_tokens cache_write cache_creation_tokens cache_creation"
            " cache_creation_input_tokens cache_write_input_tokens",
        )
        + " cache_write_tokens cache_creation_tokens prompt_cache_write_tokens"
        " cache_creation.input_tokens cache_write.input_tokens cached_write_tokens",
        beside="cache_creation_input_tokens cache_write_input_tokens cache_write_input_token_count"
        " cache.write cache_write cache_creation input_cache_creation input_cache_write"
        " input_cache_creation_input_tokens input_cache_write_tokens input_cache_creation_tokens",
    ),
    "write_5m": Spellings(_writes("5m")),
    "write_1h": Spellings(_writes("1h")),
    "tool_prompt": Spellings(beside="tool_use_prompt_token_count tool_use_prompt_tokens"),
    "reasoning": Spellings(
        inside=_in(_OUTPUT, "reasoning_tokens reasoning thinking_tokens")
        + " reasoning_tokens reasoning_output_tokens completion_reasoning_tokens thinking_tokens"
        " reasoning.output_tokens",
        beside="thoughts_token_count reasoning output_reasoning output_reasoning_tokens",
    ),
    "in_audio": Spellings(_media("audio", _INPUT, "input prompt")),
    "in_image": Spellings(_media("image", _INPUT, "input prompt")),
    "out_audio": Spellings(_media("audio", _OUTPUT, "output completion")),
    "out_image": Spellings(_media("image", _OUTPUT, "output completion")),
    "searches": Spellings(
        "web_search_requests num_search_queries grounding_queries web_search_queries web_searches"
        " web_search_calls server_tool_use.web_search_requests"
        " server_side_tool_usage_details.web_search_calls "
        + _in(_INPUT, "web_search_requests grounding_queries")
    ),
}
"""The counts of a usage object. Several spellings with values are copies of each other, some of
which senders fill with 0: the largest counts."""
TEXTS: dict[str, Spellings] = {
    "tier": Spellings("service_tier service_tier.type traffic_type"),
    "speed": Spellings("speed"),
    "geo": Spellings("inference_geo"),
}
"""What a usage object says in words: how, and where, the request was served."""
_WRAPPERS = {
    *("usage", "usagemetadata", "usagedetails", "usageobject", "tokenusage", "tokencount"),
    *("details", "anthropic", "bedrock", "google", "openai", "azure", "vertex"),
}
"""Keys of the objects around the counts; what comes before them does not matter."""
_SUMS = {"prompttokens", "prompttokencount"}
"""Inputs of senders that count everything in them: OpenAI, Google, and those that imitate them."""
_RAW = {"anthropic", "bedrock"}
"""Providers whose own objects count the input without what a cache held."""


def plain(key: str) -> str:
    """A key without case, underscores and the like; its dots stay."""
    return re.sub(r"[^a-z0-9.]", "", key.lower())


_MEANINGS = {
    plain(path): Meaning(name, beside, plain(path) in _SUMS)
    for name, spellings in (COUNTS | TEXTS).items()
    for beside, paths in ((False, spellings.inside), (True, spellings.beside))
    for path in paths.split()
}


@lru_cache(maxsize=100_000)
def meaning_of(path: str) -> Meaning | None:
    """What a path in a usage object means; None if it is none of the spellings."""
    steps = plain(path).split(".")
    last = max((n for n, step in enumerate(steps) if step in _WRAPPERS), default=-1)
    meaning = _MEANINGS.get(".".join(steps[last + 1 :]))
    if meaning is not None and meaning.name == "input" and _RAW & set(steps[:last]):
        return Meaning("uncached")
    return meaning


def count_pattern(name: str) -> str:
    """A regular expression whose first group is a count in the text of a usage object, however
    deep: for engines that read no JSON."""
    keys = {path.rpartition(".")[2] for path in COUNTS[name].inside.split()}
    spelt = sorted(keys)
    camels = [re.sub(r"_([a-z0-9])", lambda m: m[1].upper(), key) for key in spelt]
    return (
        f'"(?:{"|".join(dict.fromkeys((*spelt, *camels)))})"\\s*:\\s*"?([0-9]{{1,12}})(?:[^0-9]|$)'
    )
