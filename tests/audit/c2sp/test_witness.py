"""A witness over HTTP: asked, told another size, and everything that it may answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.c2sp.test_note import LOG
from tests.audit.c2sp.witness_server import VKEY, serving
from tests.audit.chains import KEY, OTHER_KEY, chain
from ttplan.audit.c2sp.note import check_note, make_vkey
from ttplan.audit.c2sp.tlog import add_cosignatures, format_request, make_witness_request, sign_tree
from ttplan.audit.c2sp.witness import MAX_RESPONSE, http_post, submit
from ttplan.model.errors import InputError, ProofError
from ttplan.operations.chain.transparency_log import load_or_create_log_key, read_signed_head

HASHES = [entry.hash for entry in chain(9)]


def post(url: str, body: bytes) -> tuple[int, str, bytes]:
    return http_post(timeout=5)(url, body)


def test_a_witness_that_names_another_size_is_asked_again_from_there() -> None:
    with serving(LOG) as server:
        for size, asked in ((4, 1), (4, 2), (9, 2)):
            server.asked.clear()
            checkpoint = sign_tree(LOG.name, HASHES[:size], KEY)
            whole, seals = add_cosignatures(
                checkpoint, submit(HASHES, checkpoint, server.url, post), [VKEY], "the answer"
            )
            assert len(server.asked) == asked
            assert [seal.key for seal in seals] == [VKEY]
            assert len(check_note(whole.note, [LOG, VKEY])) == 2
        server.asked.clear()
        checkpoint = sign_tree(LOG.name, HASHES, KEY)
        submit(HASHES, checkpoint, server.url + "/", post, old_size=9)
        assert server.asked == [format_request(make_witness_request(HASHES, 9, checkpoint))]


def test_a_rewritten_history_is_refused_by_the_witness() -> None:
    other = ["ab" * 32, *HASHES[1:]]
    with serving(LOG) as server:
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


def test_a_witness_that_does_not_know_the_log_or_its_key_says_so() -> None:
    with serving(LOG) as server:
        with pytest.raises(ProofError, match=r"\(HTTP 404\): it does not know the log's origin"):
            submit(HASHES, sign_tree("example.com/other", HASHES, KEY), server.url, post)
        with pytest.raises(ProofError, match=r"\(HTTP 403\): it trusts none of the keys"):
            submit(HASHES, sign_tree(LOG.name, HASHES, OTHER_KEY), server.url, post)


@pytest.mark.parametrize(
    ("answer", "message"),
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
def test_whatever_a_witness_answers_is_an_error_for_people(
    answer: tuple[int, str, bytes], message: str
) -> None:
    with serving(LOG) as server:
        server.answer = answer
        with pytest.raises((InputError, ProofError), match=message):
            submit(HASHES, sign_tree(LOG.name, HASHES, KEY), server.url, post)


def test_an_answer_has_a_longest_length_and_redirects_are_not_followed() -> None:
    checkpoint = sign_tree(LOG.name, HASHES, KEY)
    with serving(LOG) as server:
        server.answer = 200, "text/plain", b"x" * MAX_RESPONSE
        assert submit(HASHES, checkpoint, server.url, post) == server.answer[2]
        server.answer, server.asked = (409, "text/x.tlog.size", b"9\n"), []
        with pytest.raises(ProofError, match=r"\(HTTP 409\): it has seen another tree"):
            submit(HASHES, checkpoint, server.url, post, old_size=9)
        assert len(server.asked) == 1, "asking the same again helps nobody"
        server.asked.clear()
        server.answer = 307, "text/plain", b""
        with pytest.raises(ProofError, match=r"\(HTTP 307\)"):
            submit(HASHES, checkpoint, server.url, post)
        assert len(server.asked) == 1


def test_a_witness_that_is_not_there_is_an_error_for_people() -> None:
    with serving(LOG) as server:
        url = server.url
    for wrong in (url, "nowhere", "ftp://x"):
        with pytest.raises(InputError, match="does not respond"):
            submit(HASHES, sign_tree(LOG.name, HASHES, KEY), wrong, post)
    assert make_vkey(LOG.name, KEY.public_key) == LOG


def test_a_state_that_cannot_be_looked_at_is_not_taken_for_none(tmp_path: Path) -> None:
    """A log that took it for none would sign a second history."""
    hidden = tmp_path / ("x" * 300)
    with pytest.raises(InputError, match="cannot be accessed: file name too long; choose a path"):
        read_signed_head(hidden)
    with pytest.raises(InputError, match="cannot be accessed"):
        load_or_create_log_key(hidden)
    assert read_signed_head(tmp_path / "none.txt") is None
