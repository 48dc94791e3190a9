"""Recorded prompts and answers as a gateway logs them: plain text, or the JSON of a chat API."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

MAX_BODY = 1 << 20
"""A prompt or answer of more characters than this is not sent anywhere."""
# What shapes the answer and every gateway knows. The model is ours to choose, streaming is of no use, tools cannot be run.
_KEPT = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
)


class Prompt(NamedTuple):
    """A prompt as chat messages, the recorded options that shape an answer, and whether the request offered tools.

    `plain` says that the body was text and not a chat.
    """

    messages: list[dict[str, Any]]
    options: dict[str, Any]
    tools: bool
    plain: bool = False


def read_prompt(body: str) -> Prompt:
    """A recorded prompt: a chat API's JSON, a bare list of messages, or else plain text, which the user then says."""
    found = _json(body)
    if isinstance(found, dict) and _are_messages(found.get("messages")):
        # Anthropic's API keeps the system prompt beside the messages.
        system = _text(found.get("system"))
        first = [{"role": "system", "content": system}] if system else []
        options = {key: found[key] for key in _KEPT if found.get(key) is not None}
        return Prompt(
            [*first, *found["messages"]],
            options,
            bool(found.get("tools") or found.get("functions")),
        )
    if _are_messages(found):
        return Prompt(found, {}, False)
    return Prompt([{"role": "user", "content": body}], {}, False, plain=True)


def read_answer(response_body: str) -> str | None:
    """A recorded answer: the text in a chat API's JSON (None where it has none, a call of a tool), else the body as it is."""
    found = _json(response_body)
    if isinstance(found, dict) and isinstance(found.get("choices"), list):
        return message_text(found)
    if isinstance(found, dict) and found.get("type") == "message":
        return _text(found.get("content"))
    return response_body


def message_text(completion: Any) -> str | None:
    """What the first choice of a chat completion says; None where it is not a chat completion or says nothing as text."""
    try:
        content = completion["choices"][0]["message"]["content"]
    except (TypeError, KeyError, IndexError):
        return None
    return _text(content)


def _text(content: Any) -> str | None:
    """Content as the chat APIs write it: text, or a list of parts; None where a part is not text."""
    if (
        isinstance(content, list)
        and content
        and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content)
    ):
        return "".join(part["text"] for part in content)
    return content if isinstance(content, str) else None


def _are_messages(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(_is_message(message) for message in value)
    )


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("role"), str)
        and isinstance(value.get("content"), str | list)
    )


def _json(text: str) -> Any:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
