"""Request a witness's cosignature over HTTP (c2sp.org/tlog-witness)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ttplan.audit.c2sp.checkpoint import parse_size
from ttplan.audit.c2sp.tlog import Checkpoint, WitnessRequest, format_request, make_witness_request
from ttplan.model.errors import InputError, ProofError

PostFunction = Callable[[str, bytes], tuple[int, str, bytes]]
"""Posts a body to a URL and returns the response's status, content type and body."""
MAX_RESPONSE = 2**20
"""The longest response, in bytes."""
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_MEANINGS = {
    400: "it considers the request malformed",
    403: "it trusts none of the keys that signed the checkpoint; ask its operator to add the log's",
    404: "it does not know the log's origin; ask its operator to add it",
    409: "it has seen another tree of this log, or another checkpoint in between; if this "
    "persists, keep both as evidence",
    422: "it rejects the consistency proof: it has another history of this log. Keep both "
    "checkpoints as evidence",
}


def submit(
    hashes: Sequence[str],
    checkpoint: Checkpoint,
    url: str,
    post: PostFunction,
    *,
    old_size: int = 0,
) -> bytes:
    """Submit a checkpoint over the first of these hashes (hex); return the cosignature lines.

    `url` is the witness's submission prefix, `old_size` the size that it last saw, if known. If it
    states another size (409), the proof is made from there, once. Raises ProofError if the witness
    refuses, and InputError if its response is invalid.
    """
    request = make_witness_request(hashes, old_size, checkpoint)
    status, kind, body = _post(request, url, post)
    # A witness that has seen the same number of other entries also responds with 409.
    if status == 409 and (request.old_size < checkpoint.head.size or _SIZE.fullmatch(body)):
        seen = _parse_seen_size(kind, body, url)
        if seen != request.old_size:
            status, kind, body = _post(make_witness_request(hashes, seen, checkpoint), url, post)
    if status != 200:
        raise ProofError(
            f"the witness at {url} did not cosign (HTTP {status}): "
            f"{_MEANINGS.get(status, 'it gives no reason')}"
        )
    return body


def http_post(timeout: float = 30.0) -> PostFunction:
    """Return a function that posts over HTTP without redirects and raises InputError on failure.

    `timeout` is in seconds.
    """
    import httpx2

    def post(url: str, body: bytes) -> tuple[int, str, bytes]:
        try:
            with httpx2.stream(
                "POST", url, content=body, timeout=timeout, follow_redirects=False
            ) as response:
                read = b""
                for chunk in response.iter_bytes():
                    read += chunk
                    if len(read) > MAX_RESPONSE:
                        raise InputError(
                            f"{url} responds with more than {MAX_RESPONSE:,} bytes; expected "
                            "signature lines"
                        )
                return response.status_code, response.headers.get("content-type", ""), read
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise InputError(
                f"the witness at {url} does not respond: {type(error).__name__}: {error}"
            ) from None

    return post


def _post(request: WitnessRequest, url: str, post: PostFunction) -> tuple[int, str, bytes]:
    return post(url.rstrip("/") + "/add-checkpoint", format_request(request))


def _parse_seen_size(kind: str, body: bytes, url: str) -> int:
    if kind.split(";")[0].strip() != "text/x.tlog.size" or not _SIZE.fullmatch(body):
        raise InputError(
            f"the witness at {url} responds with 409 without the size that it has seen; expected "
            "it as text/x.tlog.size"
        )
    return parse_size(body[:-1].decode(), f"the size that the witness at {url} has seen")
