"""A witness over HTTP: requests from the right size, and every kind of response."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.c2sp.test_note import LOG
from tests.audit.c2sp.witness_server import VKEY, serve_witness
from tests.audit.chains import KEY, OTHER_KEY, chain
from ttplan.audit.c2sp.note import check_note, make_vkey
from ttplan.audit.c2sp.tlog import add_cosignatures, format_request, make_witness_request, sign_tree
from ttplan.audit.c2sp.witness import MAX_RESPONSE, http_post, submit
from ttplan.model.errors import InputError, ProofError
from ttplan.operations.chain.transparency_log import load_or_create_log_key, read_signed_head

HASHES = [entry.hash for entry in chain(9)]


def post(url: str, body: bytes) -> tuple[int, str, bytes]:
    return http_post(timeout=5)(url, body)


def test_request_is_repeated_from_the_size_that_was_seen() -> None:
    with serve_witness(LOG) as server:
        for size, requests in ((4, 1), (4, 2), (9, 2)):
            server.requests.clear()
            checkpoint = sign_tree(LOG.name, HASHES[:size], KEY)
            whole, seals = add_cosignatures(
                checkpoint, submit(HASHES, checkpoint, server.url, post), [VKEY], "the answer"
            )
            assert len(server.requests) == requests
            assert [seal.key for seal in seals] == [VKEY]
            assert len(check_note(whole.note, [LOG, VKEY])) == 2
        server.requests.clear()
        checkpoint = sign_tree(LOG.name, HASHES, KEY)
        submit(HASHES, checkpoint, server.url + "/", post, old_size=9)
        assert server.requests == [format_request(make_witness_request(HASHES, 9, checkpoint))]


def test_rewritten_history_is_refused() -> None:
    other = ["ab" * 32, *HASHES[1:]]
    with serve_witness(LOG) as server:
        submit(HASHES, sign_tree(LOG.name, HASHES[:4], KEY), server.url, post)
        with pytest.raises(
            ProofError,
            match=r"\(HTTP 422\): it rejects the consistency proof",
        ):
            submit(other, sign_tree(LOG.name, other, KEY), server.url, post)
        with pytest.raises(ProofError, match=r"\(HTTP 409\): it has seen another tree"):
            submit(other, sign_tree(LOG.name, other[:4], KEY), server.url, post)
        with pytest.raises(ProofError, match=r"\(HTTP 409\): it has seen another tree"):
            submit(other, sign_tree(LOG.name, other[:4], KEY), server.url, post, old_size=4)
        with pytest.raises(
            ProofError, match="has seen 4 entries, the checkpoint is of 3; sign a newer one"
        ):
            submit(HASHES, sign_tree(LOG.name, HASHES[:3], KEY), server.url, post)


def test_unknown_log_or_key_is_refused() -> None:
    with serve_witness(LOG) as server:
        with pytest.raises(ProofError, match=r"\(HTTP 404\): it does not know the log's origin"):
            submit(HASHES, sign_tree("example.com/other", HASHES, KEY), server.url, post)
        with pytest.raises(ProofError, match=r"\(HTTP 403\): it trusts none of the keys"):
            submit(HASHES, sign_tree(LOG.name, HASHES, OTHER_KEY), server.url, post)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ((400, "text/plain", b""), r"\(HTTP 400\): it considers the request malformed"),
        ((500, "text/plain", b""), r"\(HTTP 500\): it gives no reason"),
        ((302, "text/plain", b""), r"\(HTTP 302\)"),
        ((409, "text/plain", b"4\n"), "responds with 409 without the size"),
        ((409, "text/x.tlog.size", b"04\n"), "responds with 409 without the size"),
        ((409, "text/x.tlog.size", b"4"), "responds with 409 without the size"),
        ((409, "text/x.tlog.size", b"4\n"), r"\(HTTP 409\): it has seen another tree"),
        ((200, "text/plain", b"x" * (2**20 + 1)), "responds with more than"),
    ],
)
def test_invalid_responses_give_clear_errors(
    response: tuple[int, str, bytes], message: str
) -> None:
    with serve_witness(LOG) as server:
        server.response = response
        with pytest.raises((InputError, ProofError), match=message):
            submit(HASHES, sign_tree(LOG.name, HASHES, KEY), server.url, post)


def test_response_size_limit_and_no_redirects() -> None:
    checkpoint = sign_tree(LOG.name, HASHES, KEY)
    with serve_witness(LOG) as server:
        server.response = 200, "text/plain", b"x" * MAX_RESPONSE
        assert submit(HASHES, checkpoint, server.url, post) == server.response[2]
        server.response, server.requests = (409, "text/x.tlog.size", b"9\n"), []
        with pytest.raises(ProofError, match=r"\(HTTP 409\): it has seen another tree"):
            submit(HASHES, checkpoint, server.url, post, old_size=9)
        assert len(server.requests) == 1, "the same request is not repeated"
        server.requests.clear()
        server.response = 307, "text/plain", b""
        with pytest.raises(ProofError, match=r"\(HTTP 307\)"):
            submit(HASHES, checkpoint, server.url, post)
        assert len(server.requests) == 1


def test_unreachable_witness_gives_a_clear_error() -> None:
    with serve_witness(LOG) as server:
        url = server.url
    for wrong in (url, "nowhere", "ftp://x"):
        with pytest.raises(InputError, match="does not respond"):
            submit(HASHES, sign_tree(LOG.name, HASHES, KEY), wrong, post)
    assert make_vkey(LOG.name, KEY.public_key) == LOG


def test_inaccessible_state_is_an_error(tmp_path: Path) -> None:
    """A log that treated it as missing would sign a second history."""
    hidden = tmp_path / ("x" * 300)
    with pytest.raises(InputError, match="cannot be accessed: file name too long; choose a path"):
        read_signed_head(hidden)
    with pytest.raises(InputError, match="cannot be accessed"):
        load_or_create_log_key(hidden)
    assert read_signed_head(tmp_path / "none.txt") is None
