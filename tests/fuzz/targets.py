"""The fuzz targets: each takes bytes, and fails with AssertionError or an unexpected error.

The seeds are good files. `tests/fuzz/corpus/` has a folder of interesting inputs for each target.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from tests.audit.c2sp.test_trust_policy import EXAMPLE
from tests.audit.chains import KEY, ORG, OTHER_KEY, START, chain, entry, exported
from tests.audit.corpus import Case, lines, rotated
from tests.audit.test_corpus import library, one_file
from ttplan.audit.blinding import commit
from ttplan.audit.c2sp.note import format_note, parse_note
from ttplan.audit.c2sp.tlog import (
    format_checkpoint,
    format_proof,
    format_request,
    make_witness_request,
    parse_checkpoint,
    parse_proof,
    parse_request,
    prove,
    sign_tree,
)
from ttplan.audit.c2sp.trust_policy import parse_trust_policy
from ttplan.audit.canonical_line import parse_canonical_line
from ttplan.audit.entries import to_record
from ttplan.audit.equivocation import check_evidence, format_evidence
from ttplan.audit.jsonl import parse_entry
from ttplan.audit.proofs.customer_checkpoint import (
    format_customer_checkpoint,
    parse_customer_checkpoint,
    sign_customer_checkpoint,
)
from ttplan.audit.proofs.disclosure import (
    disclose,
    format_disclosure,
    parse_disclosure,
)
from ttplan.audit.proofs.inclusion import (
    check_inclusion_proof,
    format_inclusion_proof,
    parse_inclusion_proof,
    prove_inclusion,
)
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import ChainError, InputError, ProofError

HASHES = [item.hash for item in chain(9)]
CHECKPOINT = sign_tree("example.com/log1", HASHES, OTHER_KEY)


class Target(NamedTuple):
    """A function of bytes, and good files as seeds."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def reader(data: bytes) -> None:
    """The library and the standalone verifier agree on any file."""
    case = Case(data, "")
    assert library(case) == one_file(case)


def line(data: bytes) -> None:
    """The fast path for canonical lines equals the parser."""
    record = parse_canonical_line(data)
    if record is not None:
        assert record == parse_entry(data, "it"), data


def proof(data: bytes) -> None:
    """No file proves an entry that is not in the tree, and reading and writing round-trip."""
    with suppress(InputError):
        parsed = parse_inclusion_proof(data, "it")
        assert parse_inclusion_proof(format_inclusion_proof(parsed), "it") == parsed
        with suppress(ProofError):
            check_inclusion_proof(parsed, "ab" * 32, root=prove_inclusion(str(ORG), HASHES, 0).root)
            raise AssertionError("a proof of what is not there")


def tlog_proof(data: bytes) -> None:
    with suppress(InputError):
        assert format_proof(parse_proof(data, "it")) == data


def note(data: bytes) -> None:
    with suppress(InputError):
        assert format_note(parse_note(data)) == data


def checkpoint(data: bytes) -> None:
    with suppress(InputError):
        assert format_checkpoint(parse_checkpoint(data)) == data


def request(data: bytes) -> None:
    with suppress(InputError):
        assert format_request(parse_request(data, "it")) == data


def customer(data: bytes) -> None:
    with suppress(ProofError):
        parse_customer_checkpoint(data, "it")


def disclosure(data: bytes) -> None:
    with suppress(InputError):
        parsed = parse_disclosure(data, "it")
        assert parse_disclosure(format_disclosure(parsed), "it") == parsed


def policy(data: bytes) -> None:
    with suppress(InputError):
        parse_trust_policy(data, "it")


def evidence(data: bytes) -> None:
    with suppress(InputError, ProofError, ChainError):
        check_evidence(data, "it", KEY.public_key)


def _disclosed() -> bytes:
    routes, nonce = [{"name": "x", "priority": 1}], "07" * 32
    made = to_record(entry(None, payload={"routes_commitment": commit(nonce, routes)}))
    return format_disclosure(
        disclose(
            routes, nonce, made, [made.hash], sign_tree("example.com/log1", [made.hash], OTHER_KEY)
        )
    )


def _forked() -> bytes:
    history, other_history = chain(1), chain(1, payload={})
    return format_evidence(to_record(history[0]), to_record(other_history[0]), KEY.public_key)


_CUSTOMER: dict[str, Any] = {
    "org_id": ORG,
    "verifying_key": KEY.public_key,
    "anchor": TipAnchor(8, HASHES[8]),
    "at": START,
}
TARGETS = {
    "reader": Target(reader, (exported(chain(3)), lines(rotated([(KEY, 1), (OTHER_KEY, 1)])))),
    "line": Target(line, tuple(exported(chain(4)).split(b"\n")[1:-1])),
    "proof": Target(proof, (format_inclusion_proof(prove_inclusion(str(ORG), HASHES, 5)),)),
    "tlog-proof": Target(tlog_proof, (format_proof(prove(HASHES, 5, CHECKPOINT, extra=b"x")),)),
    "note": Target(note, (format_note(CHECKPOINT.note),)),
    "checkpoint": Target(checkpoint, (format_checkpoint(CHECKPOINT),)),
    "request": Target(request, (format_request(make_witness_request(HASHES, 4, CHECKPOINT)),)),
    "customer": Target(
        customer, (format_customer_checkpoint(sign_customer_checkpoint(OTHER_KEY, **_CUSTOMER)),)
    ),
    "disclosure": Target(disclosure, (_disclosed(),)),
    "policy": Target(policy, (EXAMPLE.encode(),)),
    "evidence": Target(evidence, (_forked(),)),
}
