"""Hashes of prompts and answers: they tell which are equal, and neither is kept.

A hash is BLAKE3, 128 bits in hexadecimal, of canonical JSON: keys sorted, without blanks.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

_SAME_ANSWER = {
    *("model", "stream", "stream_options", "user", "metadata", "store", "service_tier"),
    *("safety_identifier", "prompt_cache_key", "prompt_cache_retention", "tags", "labels", "cache"),
    *("id", "request_id", "trace_id", "session_id", "user_id", "api_key", "api_base", "base_url"),
    *("api_version", "headers", "extra_headers", "timeout", "request_timeout", "num_retries"),
    *("max_retries", "fallbacks", "caching", "litellm_call_id", "litellm_metadata"),
    *("proxy_server_request", "secret_fields"),
}
"""Parts of a request that do not change its answer; the model is a part of the key by itself."""
_PROMPT_WORDS = ("message", "prompt", "input", "content", "question", "query", "text")
"""One of them is in the name of the part of a request that is the prompt."""
_PREFIXES = ("gen_ai.request.", "llm.request.")
_INCOMPLETE = ("redacted-by-litellm", "litellm_truncated", "helicone_message")
"""What gateways write in place of a body, or of a part of it: equal texts then tell nothing."""
_OF_CALL = {"id", "object", "created", "model", "usage", "system_fingerprint", "service_tier"}
"""Parts of a response that differ with every call."""
_HASH = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{64}")


def hash_prompt(body: str | None, parameters: str | None = None) -> str | None:
    """The hash of a prompt with all parameters that change the answer; None if it is not known.

    `body` is the body of the request, its list of messages, or text. `parameters` is a JSON object
    of those that a log keeps elsewhere.
    """
    prompt = _parsed(body)
    if prompt and not isinstance(prompt, dict):
        prompt = {"messages" if isinstance(prompt, list) else "prompt": prompt}
    prompt = _relevant(prompt or {})
    if not any(_is_prompt(name, value) for name, value in prompt.items()):
        return None
    elsewhere = _parsed(parameters)
    return _digest((_relevant(elsewhere) if isinstance(elsewhere, dict) else {}) | prompt)


def hash_answer(response_body: str | None) -> str | None:
    """The hash of an answer's content, without what differs with every call; None if unknown."""
    answer = _parsed(response_body)
    if isinstance(answer, dict):
        choices = answer.get("choices")
        if isinstance(choices, list):
            messages = [c.get("message") for c in choices if isinstance(c, dict)]
            answer = [_content(message) for message in messages]
        else:
            answer = _content(answer)
    return _digest(answer) if answer else None


def normalise_hash(text: str | None) -> str | None:
    """A hash or cache key of a log as it is kept: hexadecimal as it is, other texts hashed, since
    they may contain a prompt."""
    if not text:
        return None
    if _HASH.fullmatch(text):
        return text.lower()
    return blake3(text.encode()).hexdigest(length=16)


def hash_columns(columns: dict[str, pa.Array], rows: int) -> None:
    """Set `prompt_hash` and `answer_hash` of a batch, from these columns if the log has a hash,
    else from `prompt`, `prompt_parameters` and `answer`, or the bodies."""

    def first_of(*names: str) -> pa.Array:
        found = [columns[name].cast(pa.string()) for name in names if name in columns]
        return pc.coalesce(*found) if found else pa.nulls(rows, pa.string())

    keys, bodies = first_of("prompt_hash"), first_of("prompt", "body")
    if keys.null_count < rows or bodies.null_count < rows:
        parameters = first_of("prompt_parameters")
        prompts = zip(*(part.to_pylist() for part in (keys, bodies, parameters)), strict=True)
        keys = [normalise_hash(key) or hash_prompt(body, more) for key, body, more in prompts]
    columns["prompt_hash"] = pa.array(keys, pa.string())
    keys, bodies = first_of("answer_hash"), first_of("answer", "response_body")
    if keys.null_count < rows or bodies.null_count < rows:
        answers = zip(keys.to_pylist(), bodies.to_pylist(), strict=True)
        keys = [normalise_hash(key) or hash_answer(body) for key, body in answers]
    columns["answer_hash"] = pa.array(keys, pa.string())


def _parsed(text: str | None) -> Any:
    """JSON, or the text itself; None if it is incomplete, such as JSON that was cut off."""
    if text is None or any(mark in text for mark in _INCOMPLETE):
        return None
    text = text.strip()
    if text[:1] not in ("{", "["):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _relevant(request: dict[str, Any]) -> dict[str, Any]:
    """The parts of a request that may change its answer."""
    plain = {_without_prefix(name): value for name, value in request.items()}
    return {
        name: value
        for name, value in plain.items()
        if value is not None and name not in _SAME_ANSWER
    }


def _is_prompt(name: str, value: Any) -> bool:
    is_named = any(word in name.lower() for word in _PROMPT_WORDS)
    return is_named and isinstance(value, str | list | dict) and bool(value)


def _without_prefix(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _content(message: Any) -> Any:
    """The content of a message and the tools that it calls."""
    if not isinstance(message, dict):
        return message
    if "content" in message and not message.get("tool_calls"):
        return message["content"]
    return {k: v for k, v in message.items() if k not in _OF_CALL and v is not None}


def _digest(content: Any) -> str:
    return blake3(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest(length=16)
