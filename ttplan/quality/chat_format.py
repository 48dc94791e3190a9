"""Parse recorded prompts and answers: plain text, or the JSON of a chat API."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

MAX_BODY = 1 << 20
"""A prompt or answer with more characters is not sent."""
# Options that shape the answer and that every gateway supports.
_OPTIONS = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
)


class Prompt(NamedTuple):
    """A prompt as chat messages, its options, and whether it offers tools.

    `plain` tells that the body was text and not a chat.
    """

    messages: list[dict[str, Any]]
    options: dict[str, Any]
    tools: bool
    plain: bool = False


def read_prompt(body: str) -> Prompt:
    """Parse a prompt: a chat API's JSON, a list of messages, or else the text of a user."""
    content = _json(body)
    if isinstance(content, dict) and _are_messages(content.get("messages")):
        # Anthropic's API keeps the system prompt outside the messages.
        system = _text(content.get("system"))
        first = [{"role": "system", "content": system}] if system else []
        options = {key: content[key] for key in _OPTIONS if content.get(key) is not None}
        return Prompt(
            [*first, *content["messages"]],
            options,
            bool(content.get("tools") or content.get("functions")),
        )
    if _are_messages(content):
        return Prompt(content, {}, False)
    return Prompt([{"role": "user", "content": body}], {}, False, plain=True)


def prompt_text(body: str) -> str:
    """Return a prompt as text for people: its messages, each with its role if there are several."""
    messages = read_prompt(body).messages
    texts = [(str(message["role"]), _readable(message["content"])) for message in messages]
    if len(texts) == 1:
        return texts[0][1]
    return "\n\n".join(f"{role}: {text}" for role, text in texts)


def _readable(content: Any) -> str:
    text = _text(content)
    return json.dumps(content, ensure_ascii=False) if text is None else text


def read_answer(response_body: str) -> str | None:
    """Return the text of an answer in a chat API's JSON (or None), else the body itself."""
    content = _json(response_body)
    if isinstance(content, dict) and isinstance(content.get("choices"), list):
        return message_text(content)
    if isinstance(content, dict) and content.get("type") == "message":
        return _text(content.get("content"))
    return response_body


def message_text(completion: Any) -> str | None:
    """Return the text of the first choice of a chat completion, if there is one."""
    try:
        content = completion["choices"][0]["message"]["content"]
    except (TypeError, KeyError, IndexError):
        return None
    return _text(content)


def stopped_at_limit(completion: Any) -> bool:
    """Return whether the first choice of a chat completion ended at its limit of tokens."""
    try:
        return bool(completion["choices"][0]["finish_reason"] == "length")
    except (TypeError, KeyError, IndexError):
        return False


def _text(content: Any) -> str | None:
    """Return the text of a content: a string, or a list of text parts; otherwise None."""
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
