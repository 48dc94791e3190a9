"""Ask a witness for its cosignature over HTTP, as c2sp.org/tlog-witness says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ttplan.audit.c2sp.checkpoint import parse_size
from ttplan.audit.c2sp.tlog import Checkpoint, WitnessRequest, format_request, make_witness_request
from ttplan.model.errors import InputError, ProofError

PostFunction = Callable[[str, bytes], tuple[int, str, bytes]]
"""Posts a body to a URL and gives the status, the content type and the body of the answer."""
MAX_ANSWER = 2**20
"""The longest answer, in bytes, that is read."""
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_MEANINGS = {
    400: "it finds the request malformed",
    403: "it trusts none of the keys that signed the checkpoint; ask its operator to add the log's",
    404: "it does not know the log's origin; ask its operator to add it",
    409: "it has seen another tree of this log, or another checkpoint in between; if it stays so, keep both as evidence",
    422: "the consistency proof does not verify there: its history of this log is another one. Keep both checkpoints as evidence",
}


def submit(
    hashes: Sequence[str],
    checkpoint: Checkpoint,
    url: str,
    post: PostFunction,
    *,
    old_size: int = 0,
) -> bytes:
    """The answer of a witness, its signature lines, to a checkpoint over the first of these hashes (hex).

    `url` is the witness's submission prefix; `old_size` what it saw last, where that is known. Where it names another size (409),
    the proof is made from there, once. Raises ProofError where it refuses, and InputError where it does not answer as it should.
    """
    request = make_witness_request(hashes, old_size, checkpoint)
    status, kind, body = _post(request, url, post)
    # A witness that has seen as many entries, but others, also answers 409.
    if status == 409 and (request.old_size < checkpoint.head.size or _SIZE.fullmatch(body)):
        seen = _seen(kind, body, url)
        if seen != request.old_size:
            status, kind, body = _post(make_witness_request(hashes, seen, checkpoint), url, post)
    if status != 200:
        raise ProofError(
            f"the witness at {url} did not cosign (HTTP {status}): {_MEANINGS.get(status, 'it does not say why')}"
        )
    return body


def http_post(timeout: float = 30.0) -> PostFunction:
    """Posts over HTTP or HTTPS, following no redirect; `timeout` is in seconds. Raises InputError where that fails."""
    import httpx2

    def post(url: str, body: bytes) -> tuple[int, str, bytes]:
        try:
            with httpx2.stream(
                "POST", url, content=body, timeout=timeout, follow_redirects=False
            ) as answer:
                read = b""
                for chunk in answer.iter_bytes():
                    read += chunk
                    if len(read) > MAX_ANSWER:
                        raise InputError(
                            f"{url} answers with more than {MAX_ANSWER:,} bytes; expected signature lines"
                        )
                return answer.status_code, answer.headers.get("content-type", ""), read
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise InputError(
                f"the witness at {url} does not answer: {type(error).__name__}: {error}"
            ) from None

    return post


def _post(request: WitnessRequest, url: str, post: PostFunction) -> tuple[int, str, bytes]:
    return post(url.rstrip("/") + "/add-checkpoint", format_request(request))


def _seen(kind: str, body: bytes, url: str) -> int:
    if kind.split(";")[0].strip() != "text/x.tlog.size" or not _SIZE.fullmatch(body):
        raise InputError(
            f"the witness at {url} answers 409 without the size that it has seen; expected it as text/x.tlog.size"
        )
    return parse_size(body[:-1].decode(), f"the size that the witness at {url} has seen")
