"""Customer checkpoints: both forms byte for byte, and their errors in the ecosystem's order."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.chains import KEY, OTHER_KEY, flip_each_bit
from ttplan.audit.keys.key_files import key_from_hex
from ttplan.audit.proofs.customer_checkpoint import (
    MAX_CHECKPOINT,
    SCHEMA,
    CustomerCheckpoint,
    CustomerCheckpointError,
    check_customer_signature,
    format_customer_checkpoint,
    load_customer_key,
    parse_customer_checkpoint,
    sign_customer_checkpoint,
    signed_bytes,
)
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import KeyFileError, ProofError

CUSTOMER = key_from_hex("07" * 32)
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
IDENTITY = hashlib.sha256(CUSTOMER.public_key.raw).hexdigest()
ORG = UUID("11111111-1111-1111-1111-111111111111")
AT = datetime(2026, 7, 28, 12, 0, 0, 999_999, tzinfo=UTC)


def form_1(**changes: Any) -> dict[str, Any]:
    """Form 1, signed by hand."""
    fields = {
        "org": str(ORG),
        "verifying_key_hex": KEY.public_key.hex,
        "sequence": 41,
        "tip_hash": "bb" * 32,
        "timestamp": "2026-07-28T12:00:00Z",
        "customer_key_identity": IDENTITY,
    }
    message = SCHEMA + "\n" + json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return {
        "schema": SCHEMA,
        **fields,
        "signature": PRIVATE_KEY.sign(message.encode()).hex(),
    } | changes


def form_2(**changes: Any) -> dict[str, Any]:
    """Form 2, signed by hand."""
    fields: dict[str, Any] = {
        "organization_id": str(ORG),
        "audit_verifying_key_hex": KEY.public_key.hex,
        "sequence": 41,
        "tip_hash": "bb" * 32,
        "checkpointed_at": "2026-07-28T12:00:00Z",
        "customer_key_id": "ed25519-sha256:" + IDENTITY,
    }
    message = "tt.customer-audit-checkpoint.v1|" + "|".join(str(value) for value in fields.values())
    return {
        "schema": SCHEMA,
        **fields,
        "signature_hex": PRIVATE_KEY.sign(message.encode()).hex(),
    } | changes


def read(fields: Any) -> CustomerCheckpoint:
    return parse_customer_checkpoint(json.dumps(fields).encode(), "c.json")


def kind_of(fields: Any) -> str:
    """The kind of error that checking these fields raises; "good" if none."""
    try:
        check_customer_signature(read(fields), CUSTOMER.public_key)
    except CustomerCheckpointError as error:
        return error.kind
    return "good"


def test_written_checkpoint_is_what_the_ecosystem_signs() -> None:
    made = sign_customer_checkpoint(
        CUSTOMER, org_id=ORG, verifying_key=KEY.public_key, anchor=TipAnchor(41, "bb" * 32), at=AT
    )
    assert json.loads(format_customer_checkpoint(made)) == form_1()
    assert list(json.loads(format_customer_checkpoint(made))) == list(form_1())
    assert read(form_1()) == made
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    same = sign_customer_checkpoint(
        CUSTOMER, org_id=ORG, verifying_key=KEY.public_key, anchor=made.anchor, at=elsewhere
    )
    assert same == made


def test_both_forms_verify_and_name_themselves() -> None:
    for number, fields in ((1, form_1()), (2, form_2())):
        checkpoint = read(fields)
        check_customer_signature(checkpoint, CUSTOMER.public_key)
        assert (checkpoint.form, checkpoint.org_id, checkpoint.anchor) == (
            number,
            ORG,
            TipAnchor(41, "bb" * 32),
        )
        assert (checkpoint.verifying_key, checkpoint.key_identity) == (KEY.public_key.hex, IDENTITY)
        assert json.loads(format_customer_checkpoint(checkpoint)) == fields


INVALID_FIELDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("wrong schema", {"schema": "v2"}, {"schema": "v2"}),
    ("bad sequence", {"sequence": -1}, {"sequence": -1}),
    ("bad hex", {"verifying_key_hex": "AA" * 32}, {"audit_verifying_key_hex": "AA" * 32}),
    ("bad hex", {"tip_hash": "bb" * 31}, {"tip_hash": "bb" * 32 + "\n"}),
    (
        "bad hex",
        {"customer_key_identity": "ed25519-sha256:" + IDENTITY},
        {"customer_key_id": IDENTITY},
    ),
    (
        "bad timestamp",
        {"timestamp": "2026-07-28T12:00:00.000Z"},
        {"checkpointed_at": "2026-07-28T12:00:00+00:00"},
    ),
    ("bad signature", {"signature": "00"}, {"signature_hex": "00"}),
]


@pytest.mark.parametrize(("kind", "changes_1", "changes_2"), INVALID_FIELDS)
def test_each_error_has_its_kind_in_both_forms(
    kind: str, changes_1: dict[str, Any], changes_2: dict[str, Any]
) -> None:
    assert kind_of(form_1(**changes_1)) == kind
    assert kind_of(form_2(**changes_2)) == kind


def test_first_error_in_the_ecosystems_order_is_reported() -> None:
    order = [kind for kind, _, _ in INVALID_FIELDS]
    for make_form, form in ((form_1, 1), (form_2, 2)):
        for start in range(len(INVALID_FIELDS)):
            changes: dict[str, Any] = {}
            for case in INVALID_FIELDS[start:]:
                changes |= case[1] if form == 1 else case[2]
            assert kind_of(make_form(**changes)) == order[start]
            assert kind_of(make_form(**changes, more=1)) == "malformed shape"


def test_hex_error_names_its_field() -> None:
    with pytest.raises(
        CustomerCheckpointError,
        match=r"bad hex: c\.json: tip_hash is 'xyz'; expected 64 lower-case hex digits",
    ):
        read(form_1(tip_hash="xyz"))
    with pytest.raises(
        CustomerCheckpointError,
        match="customer_key_id is 'xyz'; expected 'ed25519-sha256:' and 64 lower-case hex",
    ):
        read(form_2(customer_key_id="xyz"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (form_1() | form_2(), "fields of both forms"),
        (
            {k: v for k, v in form_1().items() if k != "signature"} | {"signature_hex": "00"},
            "fields of both forms",
        ),
        (
            {k: v for k, v in form_1().items() if k != "org"},
            "expected exactly schema, org, verifying_key_hex",
        ),
        ([form_1()], "not a JSON object"),
        (form_1(sequence=True), "sequence is 'True'"),
        (form_1(sequence="41"), "sequence is '41'"),
        (form_1(sequence=41.0), "sequence is '41.0'"),
        (form_1(org=None), "org is not text"),
        (form_1(org="ACME"), "org is 'ACME'; expected a UUID"),
        (form_2(organization_id=str(ORG) + "|x"), "expected a UUID"),
    ],
)
def test_malformed_shape_error_says_what_is_wrong(fields: Any, message: str) -> None:
    with pytest.raises(CustomerCheckpointError, match=f"malformed shape: c.json: .*{message}"):
        read(fields)


def test_long_or_repeated_content_is_malformed() -> None:
    longest = json.dumps(form_1()).encode().ljust(MAX_CHECKPOINT)
    check_customer_signature(parse_customer_checkpoint(longest, "c.json"), CUSTOMER.public_key)
    for data, message in (
        (longest + b" ", "more than 16,384 bytes"),
        (b'{"schema":1,"schema":2}', "appears twice"),
        (b"\xff", "not UTF-8"),
        (b"", "not JSON"),
    ):
        with pytest.raises(CustomerCheckpointError, match=f"malformed shape: c.json: .*{message}"):
            parse_customer_checkpoint(data, "c.json")


def test_sequence_has_the_bounds_of_seq() -> None:
    for sequence, kind in (
        (-1, "bad sequence"),
        (0, "bad signature"),
        (2**63 - 1, "bad signature"),
        (2**63, "bad sequence"),
    ):
        assert kind_of(form_1(sequence=sequence)) == kind_of(form_2(sequence=sequence)) == kind


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-02-30T12:00:00Z",
        "2026-07-28T24:00:00Z",
        "2026-07-28T12:00:60Z",
        "٢026-07-28T12:00:00Z",
    ],
)
def test_nonexistent_time_is_a_bad_timestamp(stamp: str) -> None:
    assert kind_of(form_1(timestamp=stamp)) == "bad timestamp"


def test_other_customer_or_changed_field_is_a_bad_signature() -> None:
    for fields in (form_1(), form_2()):
        with pytest.raises(CustomerCheckpointError, match="bad signature"):
            check_customer_signature(read(fields), OTHER_KEY.public_key)
    changes = {
        "org": str(UUID(int=2)),
        "verifying_key_hex": "aa" * 32,
        "sequence": 40,
        "tip_hash": "cc" * 32,
    }
    changes |= {"timestamp": "2026-07-28T12:00:01Z", "customer_key_identity": "dd" * 32}
    for name, value in changes.items():
        assert kind_of(form_1(**{name: value})) == "bad signature"


def test_customer_must_sign_as_itself() -> None:
    unsigned = CustomerCheckpoint(
        1, ORG, KEY.public_key.hex, TipAnchor(1, "bb" * 32), "2026-07-28T12:00:00Z", "dd" * 32, ""
    )
    signed = unsigned._replace(signature=PRIVATE_KEY.sign(signed_bytes(unsigned)).hex())
    with pytest.raises(
        CustomerCheckpointError,
        match="key identity mismatch: the checkpoint names the customer key dddd",
    ):
        check_customer_signature(signed, CUSTOMER.public_key)
    assert CustomerCheckpointError.KINDS[-1] == "key identity mismatch"


def test_every_bit_flip_is_detected() -> None:
    for fields in (form_1(), form_2()):
        data = json.dumps(fields).encode()
        for _, flipped in flip_each_bit(data):
            with pytest.raises(ProofError):
                check_customer_signature(
                    parse_customer_checkpoint(flipped, "c.json"), CUSTOMER.public_key
                )


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(CustomerCheckpointError):
        parse_customer_checkpoint(data, "c.json")


def test_seed_file_must_be_private(tmp_path: Path) -> None:
    file = tmp_path / "seed"
    file.write_text("07" * 32 + "\n")
    file.chmod(0o600)
    assert load_customer_key(file).public_key == CUSTOMER.public_key
    for mode in (0o644, 0o640, 0o700, 0o400):
        file.chmod(mode)
        with pytest.raises(
            KeyFileError, match=rf"must have mode 0600 \(mode {mode:04o}\); run: chmod 600"
        ):
            load_customer_key(file)
    file.chmod(0o600)
    file.write_text("secret" * 9)
    with pytest.raises(KeyFileError, match="has 54 characters; expected 64 hex digits") as caught:
        load_customer_key(file)
    assert "secret" not in str(caught.value)
    with pytest.raises(KeyFileError, match="no customer seed at"):
        load_customer_key(tmp_path / "none")
    with pytest.raises(KeyFileError, match="cannot be read: Is a directory"):
        load_customer_key(tmp_path)
    with pytest.raises(KeyFileError, match="/dev/null is not a file; expected the customer's seed"):
        load_customer_key("/dev/null")
