"""One bounded request to an OpenAI-compatible chat API, over httpx2.

httpx2 is httpx carried on by its author and the pydantic team: same interface, while httpx itself had its last release in 2024;
genai-prices brings it along already.
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
    from types import TracebackType

    import httpx2

LimitField = Literal["max_tokens", "max_completion_tokens"]
"""What a model calls the most tokens that it may write; newer ones of OpenAI only know the second."""
MAX_RESPONSE = 1 << 20
"""A response of more bytes than this is not read."""

# What every later call would meet again: a wrong key, an empty account, no such model or address.
_HOPELESS = {
    401: "the API key is missing or wrong",
    402: "the account has no credit",
    404: "there is no such address or model; base_url usually ends in /v1",
}
_PASSING = {408, 425, 429}


class ChatClient:
    """Posts to `{base_url}/chat/completions`. One connection pool while entered with `async with`, else a new one a call.

    Use one only from one event loop at a time. Raises InputError for a base URL or key that cannot be used.
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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered -= 1
        if self._entered == 0 and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    def _new_client(self) -> httpx2.AsyncClient:
        # Not compressed: a small response could otherwise unpack to a very large one.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        client: httpx2.AsyncClient = _library().AsyncClient(
            headers=headers, timeout=self._timeout, follow_redirects=False
        )
        return client

    async def post(self, payload: dict[str, Any]) -> Any:
        """The JSON that the API answers. Raises CallFailed for whatever else happens."""
        if self._client is not None:
            return await self._post(self._client, payload)
        async with self._new_client() as client:
            return await self._post(client, payload)

    async def _post(self, client: httpx2.AsyncClient, payload: dict[str, Any]) -> Any:
        library = _library()
        try:
            # httpx's own time-out is for each piece; a server that drips would never end.
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
            raise self._refused(response, body, str(payload.get("model")))
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise CallFailed(
                f"{self._url} sent a compressed response that was not asked for", then="skip"
            )
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            kind = one_line(response.headers.get("Content-Type", "no content type"), 60)
            raise CallFailed(
                f"{self._url} answered something that is not JSON ({kind}); expected an OpenAI-compatible chat API",
                then="skip",
            ) from None

    def _refused(self, response: httpx2.Response, body: bytes, model: str) -> CallFailed:
        status = response.status_code
        # A service may repeat parts of a key that it refuses.
        said = "" if status in (401, 403) else _server_message(body)
        told = _HOPELESS.get(
            status,
            said
            or (
                "a redirect is not followed; give the final base_url" if 300 <= status < 400 else ""
            ),
        )
        message = self._clean(
            f"{self._url} answered HTTP {status} for model {model[:80]!r}"
            + (f": {told}" if told else "")
        )
        if status in _HOPELESS:
            return CallFailed(message, then="stop")
        if status >= 500 or status in _PASSING:
            return CallFailed(
                message, then="retry", retry_after=_retry_after(response.headers.get("Retry-After"))
            )
        return CallFailed(message, then="skip")

    def _clean(self, text: str) -> str:
        return one_line(text if self._key is None else text.replace(self._key, "[key]"), 400)


def _library() -> Any:
    try:
        import httpx2
    except ImportError:
        raise InputError(
            "the ready judge and proposer need httpx2; install it with: pip install 'ttplan[quality]'"
        ) from None
    return httpx2


async def _read(response: httpx2.Response) -> bytes:
    """The response's body, as far as it is not too long."""
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
    """What a service says is wrong: `error.message`, or `error` itself, of its JSON."""
    try:
        error = json.loads(body)["error"]
        return one_line(str(error["message"] if isinstance(error, dict) else error), 120)
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait: RFC 9110 section 10.2.3 has them as a number or as a date. None for anything else."""
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
    """The URL without a slash at its end. A name and password in it are not repeated in the error."""
    try:
        parts = urlsplit(base_url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        raise InputError(
            "base_url cannot be read; expected one such as http://localhost:11434/v1"
        ) from None
    if "@" in base_url:
        raise InputError(
            "base_url has a user or password in it; give the key as api_key or api_key_env"
        )
    plain = all(" " < c < "\x7f" for c in base_url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or not (plain and port_is_fine)
    ):
        raise InputError(
            f"base_url is {base_url[:200]!r}; expected one such as http://localhost:11434/v1"
        )
    return base_url.rstrip("/")


def _checked_key(key: str | None) -> str | None:
    if key is not None and not (key and all("!" <= c <= "~" for c in key)):
        raise InputError(
            "the API key is empty or has characters that no key has, such as a line break; check how it was copied"
        )
    return key
