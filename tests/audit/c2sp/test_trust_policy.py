"""Trust policies: the example of the spec, every rule of its grammar, and what quorums accept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.c2sp.test_note import LOG, QUANTUM_KEY, quantum_cosignature
from tests.audit.chains import KEY, chain
from ttplan.audit.c2sp.note import COSIGNATURE, VerifierKey, cosign_note, make_vkey, sign_note
from ttplan.audit.c2sp.tlog import Checkpoint, sign_tree
from ttplan.audit.c2sp.trust_policy import MAX_POLICY, check_trust_policy, parse_trust_policy
from ttplan.audit.keys.key_files import key_from_hex
from ttplan.model.errors import InputError, ProofError

NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
KEYS = {name: key_from_hex(f"{i + 80:02x}" * 32) for i, name in enumerate(NAMES)}
WITNESSES = {
    name: make_vkey(f"{name}.example", key.public_key, COSIGNATURE) for name, key in KEYS.items()
}
TREE = sign_tree(LOG.name, [entry.hash for entry in chain(3)], KEY)
# The example of c2sp.org/tlog-policy, with keys in place of its `<vkey>`.
EXAMPLE = "\n".join(
    (
        f"log {LOG}",
        "",
        *(f"witness {name} {WITNESSES[name]}" for name in NAMES[:3]),
        "group X-witnesses 2 X1 X2 X3",
        "",
        *(f"witness {name} {WITNESSES[name]}" for name in NAMES[3:]),
        "group Y-witnesses any Y1 Y2 Y3",
        "",
        "group X-and-Y all X-witnesses Y-witnesses",
        "quorum X-and-Y",
        "",
    )
)


def cosigned(*names: str) -> Checkpoint:
    more = tuple(cosign_note(TREE.note.text, f"{name}.example", KEYS[name], 5) for name in names)
    return TREE._replace(note=TREE.note._replace(signatures=(*TREE.note.signatures, *more)))


def accepts(text: str, checkpoint: Checkpoint) -> bool:
    try:
        check_trust_policy(checkpoint, parse_trust_policy(text.encode(), "policy"))
    except ProofError:
        return False
    return True


def witness_line(name: str, key: VerifierKey | None = None) -> str:
    return f"witness {name} {key or WITNESSES[name]}\n"


@given(st.sets(st.sampled_from(NAMES)))
def test_spec_example_requires_two_of_x_and_one_of_y(names: set[str]) -> None:
    expected = len(names & set(NAMES[:3])) >= 2 and len(names & set(NAMES[3:])) >= 1
    assert accepts(EXAMPLE, cosigned(*names)) is expected


def test_acceptance_names_the_signers() -> None:
    acceptance = check_trust_policy(
        cosigned("X1", "X2", "Y3"), parse_trust_policy(EXAMPLE.encode(), "policy")
    )
    assert acceptance.log.key == LOG
    assert [seal.key for seal in acceptance.witnesses] == [
        WITNESSES["X1"],
        WITNESSES["X2"],
        WITNESSES["Y3"],
    ]
    for names, cosigners in ((("X1", "Y3"), "X1, Y3"), ((), "none")):
        with pytest.raises(
            ProofError, match=f"the quorum X-and-Y is not reached; cosigned by: {cosigners}$"
        ):
            check_trust_policy(cosigned(*names), parse_trust_policy(EXAMPLE.encode(), "policy"))


def test_policy_size_limit() -> None:
    longest = b"#" * (MAX_POLICY - 13) + b"\nquorum none\n"
    assert parse_trust_policy(longest, "policy").quorum is None
    with pytest.raises(InputError, match="policy has more than 1,048,576 bytes"):
        parse_trust_policy(b"#" + longest, "policy")


def test_log_must_sign_whatever_the_quorum() -> None:
    assert accepts(f"log {LOG}\nquorum none\n", TREE)
    other = make_vkey("example.com/other", KEY.public_key)
    assert not accepts(f"log {other}\nquorum none\n", TREE)
    assert not accepts("quorum none\n", TREE)
    other_key = make_vkey(LOG.name, KEYS["X1"].public_key)
    assert not accepts(f"log {other_key}\n{witness_line('X2')}quorum X2\n", cosigned("X2"))
    assert accepts(f"log {other_key}\nlog {LOG}\nquorum none\n", TREE)
    for text, message in (
        (
            f"log {other}\nquorum none\n",
            f"is of the log {LOG.name}, which the policy does not know",
        ),
        (
            f"log {other_key}\n{witness_line('X2')}quorum X2\n",
            f"the log {LOG.name} has not signed its checkpoint with a key of the policy",
        ),
    ):
        with pytest.raises(ProofError, match=message):
            check_trust_policy(cosigned("X2"), parse_trust_policy(text.encode(), "policy"))


def test_bad_signature_of_a_known_witness_is_refused() -> None:
    bad = cosigned("X1", "X2")
    last = bad.note.signatures[-1]._replace(blob=bytes(72))
    bad = bad._replace(note=bad.note._replace(signatures=(*bad.note.signatures[:-1], last)))
    assert not accepts(f"log {LOG}\n{witness_line('X1')}{witness_line('X2')}quorum X1\n", bad)
    assert accepts(f"log {LOG}\n{witness_line('X1')}quorum X1\n", bad)


def test_ml_dsa_witness_counts() -> None:
    cosigned_tree = TREE._replace(
        note=TREE.note._replace(
            signatures=(
                sign_note(TREE.note.text, LOG.name, KEY),
                quantum_cosignature(3, TREE.note.text),
            )
        )
    )
    assert accepts(f"log {LOG}\n{witness_line('Q', QUANTUM_KEY)}quorum Q\n", cosigned_tree)


def test_white_space_comments_urls_and_bytes_follow_the_spec() -> None:
    text = (
        f"  # log nothing\n\t\nlog\t{LOG}  https://log.example/\t\n"
        f"witness caf\u00e9 {WITNESSES['X1']} https://w.example\n"
    )
    assert accepts(text + "quorum  caf\u00e9 \n", cosigned("X1"))
    # The Kelvin sign is not the letter K.
    kelvin = f"log {LOG}\nwitness \u212a {WITNESSES['X1']}\n"
    with pytest.raises(InputError, match="the name 'K' is not defined"):
        parse_trust_policy((kelvin + "quorum K\n").encode(), "policy")
    with pytest.raises(InputError, match="policy, line 1: a verifier key that is not UTF-8"):
        parse_trust_policy(b"log \xff\nquorum none\n", "policy")
    assert (
        parse_trust_policy(
            kelvin.encode() + b"group \xff any \xe2\x84\xaa\nquorum \xff\n", "policy"
        ).quorum
        == b"\xff"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no line with its quorum"),
        (f"log {LOG}\n", "has no line with its quorum"),
        ("quorum none", "last line does not end in a line feed"),
        ("quorum none\nquorum none\n", "line 2: a second quorum"),
        ("quorum\n", "line 1: expected `quorum <name>`"),
        ("quorum " + "x" * 61 + "\n", "the name 'x{60}' is not defined"),
        ("quorum a b\n", "line 1: expected `quorum <name>`"),
        ("quorum X1\n" + witness_line("X1"), "line 1: the name 'X1' is not defined"),
        (
            witness_line("X1") + witness_line("X1", WITNESSES["X2"]),
            "line 2: the name 'X1' is taken",
        ),
        (
            witness_line("X1") + witness_line("Z", WITNESSES["X1"]),
            "line 2: the key of the witness X1.example appears twice",
        ),
        (witness_line("none", WITNESSES["X1"]), "the name 'none' is taken"),
        (witness_line("X1") + "group X1 any X1\n", "the name 'X1' is taken"),
        (witness_line("X1") + "group g any X1 X1\n", "is a member twice"),
        (witness_line("X1") + "group g any X1\ngroup h any X1\n", "line 3: 'X1' is a member twice"),
        (witness_line("X1") + "group g any none\n", "'none' is not defined"),
        ("group g any g\n", "'g' is not defined"),
        (witness_line("X1") + "group g any\n", "expected `group <name> all|any|<k> <name>...`"),
        (witness_line("X1") + "group g 0 X1\n", "the threshold is '0'"),
        (
            witness_line("X1") + "group g 2 X1\n",
            "the threshold is '2'; expected all, any, or 1 to 1",
        ),
        (witness_line("X1") + "group g 01 X1\n", "the threshold is '01'"),
        (witness_line("X1") + "group g some X1\n", "the threshold is 'some'"),
        (f"log {LOG}\nlog {LOG}\n", "line 2: the key of the log example.com/log appears twice"),
        (
            f"log {LOG}\nlog {make_vkey('b', KEY.public_key)}\n",
            "line 2: the key of the log b appears twice",
        ),
        (f"log {LOG} a b\n", "expected `log <vkey>"),
        ("log\n", "expected `log <vkey>"),
        ("witness X1\n", "expected `witness <name> <vkey>"),
        ("group g\n", "expected `group <name>"),
        ("group g all\n", "expected `group <name>"),
        (witness_line("X1").strip() + " u v\n", "expected `witness <name> <vkey>"),
        (f"witness w {LOG}\n", "is of type 0x01; expected a cosigning key"),
        ("witness w x\n", "is not a verifier key"),
        ("wizard w x\n", "begins with 'wizard'"),
        ("quorum none\r\n", "control character"),
        ("quorum\x7fnone\n", "control character"),
        ("quorum\u00a0none\n", "begins with 'quorum\\\\xa0none'"),
    ],
)
def test_invalid_policies_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^policy.*{message}"):
        parse_trust_policy(text.encode(), "policy")


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        policy = parse_trust_policy(data, "policy")
    except InputError:
        return
    assert policy.quorum is None or policy.quorum in (policy.witnesses | policy.groups)
