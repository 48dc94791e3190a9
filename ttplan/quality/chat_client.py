"""A bounded HTTP client for OpenAI-compatible chat APIs.

It uses httpx2, the maintained successor of httpx, which genai-prices depends on already.
"""

from __future__ import annotations

import asyncio
import json
import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from ttplan.model.errors import InputError
from ttplan.quality.protocols import CallFailed, one_line

if TYPE_CHECKING:
    import httpx2

LimitField = Literal["max_tokens", "max_completion_tokens"]
"""The API's name for the limit of tokens; newer models of OpenAI only accept the second."""
MAX_RESPONSE = 1 << 20
"""A longer response (in bytes) is not read."""

# Every later call would fail, too.
_FATAL = {
    401: "the API key is missing or wrong",
    402: "the account has no credit",
    404: "there is no such address or model; base_url usually ends in /v1",
}
_TEMPORARY = {408, 425, 429}


class ChatClient:
    """Posts to `{base_url}/chat/completions`.

    `async with` keeps one connection pool; otherwise each call opens its own. Do not use a client
    from several event loops at a time. Raises InputError if the base URL or the key is invalid.
    """

    def __init__(self, base_url: str, api_key: str | None, timeout_seconds: float) -> None:
        _library()
        self._url = _checked_url(base_url) + "/chat/completions"
        self._key = _checked_key(api_key)
        self._timeout = timeout_seconds
        self._client: httpx2.AsyncClient | None = None
        self._entered = 0

    async def __aenter__(self) -> ChatClient:
        if self._client is None:
            self._client = self._new_client()
        self._entered += 1
        return self

    async def __aexit__(self, *error: object) -> None:
        self._entered -= 1
        if self._entered == 0 and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    def _new_client(self) -> httpx2.AsyncClient:
        # No compression: a small response could expand to a very large one.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        client: httpx2.AsyncClient = _library().AsyncClient(
            headers=headers, timeout=self._timeout, follow_redirects=False
        )
        return client

    async def post(self, payload: dict[str, Any]) -> Any:
        """Return the API's JSON response. Raises CallFailed for anything else."""
        if self._client is not None:
            return await self._post(self._client, payload)
        async with self._new_client() as client:
            return await self._post(client, payload)

    async def _post(self, client: httpx2.AsyncClient, payload: dict[str, Any]) -> Any:
        library = _library()
        try:
            # The timeout of httpx is per chunk; a server that drips would never end.
            async with (
                asyncio.timeout(self._timeout),
                client.stream("POST", self._url, json=payload) as response,
            ):
                body = await _read(response)
        except (library.TimeoutException, TimeoutError):
            raise CallFailed(f"{self._url} did not answer within {self._timeout:g} s") from None
        except library.ConnectError as error:
            raise CallFailed(
                self._clean(f"{self._url} cannot be reached ({error}); is the server running?")
            ) from None
        except (library.HTTPError, library.StreamError) as error:
            raise CallFailed(
                self._clean(f"{self._url} broke off: {type(error).__name__}: {error}")
            ) from None
        except (library.InvalidURL, UnicodeError) as error:
            raise CallFailed(
                self._clean(f"{self._url} cannot be asked: {error}"), then="skip"
            ) from None
        if response.status_code != 200:
            raise self._status_error(response, body, str(payload.get("model")))
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise CallFailed(
                f"{self._url} sent a compressed response that was not asked for", then="skip"
            )
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            kind = one_line(response.headers.get("Content-Type", "no content type"), 60)
            raise CallFailed(
                f"{self._url} answered something that is not JSON ({kind}); "
                "expected an OpenAI-compatible chat API",
                then="skip",
            ) from None

    def _status_error(self, response: httpx2.Response, body: bytes, model: str) -> CallFailed:
        status = response.status_code
        # A service may repeat parts of a key that it refuses.
        detail = "" if status in (401, 403) else _server_message(body)
        if not detail and 300 <= status < 400:
            detail = "a redirect is not followed; give the final base_url"
        detail = _FATAL.get(status, detail)
        message = self._clean(
            f"{self._url} answered HTTP {status} for model {model[:80]!r}"
            + (f": {detail}" if detail else "")
        )
        if status in _FATAL:
            return CallFailed(message, then="stop")
        if status >= 500 or status in _TEMPORARY:
            seconds = _retry_after(response.headers.get("Retry-After"))
            return CallFailed(message, then="retry", retry_after=seconds)
        return CallFailed(message, then="skip")

    def _clean(self, text: str) -> str:
        return one_line(text if self._key is None else text.replace(self._key, "[key]"), 400)


def _library() -> Any:
    try:
        import httpx2
    except ImportError:
        raise InputError(
            "ChatJudge and ChatProposer need httpx2; install it with: pip install 'ttplan[quality]'"
        ) from None
    return httpx2


async def _read(response: httpx2.Response) -> bytes:
    """Return the response's body. Raises CallFailed if it is too long."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_RESPONSE:
            raise CallFailed(
                f"{response.url} answered more than {MAX_RESPONSE:,} bytes; the rest was not read",
                then="skip",
            )
    return bytes(body)


def _server_message(body: bytes) -> str:
    """Return a service's error message: `error.message`, or `error` itself, of its JSON."""
    try:
        error = json.loads(body)["error"]
        return one_line(str(error["message"] if isinstance(error, dict) else error), 120)
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _retry_after(header: str | None) -> float | None:
    """Return the seconds to wait, from a number or a date (RFC 9110 section 10.2.3), or None."""
    if header is None:
        return None
    try:
        seconds = float(header) if header.strip()[:1].isdigit() else _until(header)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(date: str) -> float:
    at = parsedate_to_datetime(date)
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()


def _checked_url(base_url: str) -> str:
    """Return the URL without a trailing slash. Errors do not repeat a password in it."""
    try:
        parts = urlsplit(base_url)
        is_valid_port = parts.port is None or parts.port > 0
    except ValueError:
        raise InputError(
            "base_url cannot be read; expected one such as http://localhost:11434/v1"
        ) from None
    if "@" in base_url:
        raise InputError(
            "base_url has a user or password in it; give the key as api_key or api_key_env"
        )
    is_ascii = all(" " < char < "\x7f" for char in base_url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or not (is_ascii and is_valid_port)
    ):
        raise InputError(
            f"base_url is {base_url[:200]!r}; expected one such as http://localhost:11434/v1"
        )
    return base_url.rstrip("/")


def _checked_key(key: str | None) -> str | None:
    if key is not None and not (key and all("!" <= char <= "~" for char in key)):
        raise InputError(
            "the API key is empty or has characters that no key has, such as a line break; "
            "check how it was copied"
        )
    return key
