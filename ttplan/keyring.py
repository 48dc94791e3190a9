"""The keys of one workspace: what signs its chain, and what verifies it."""

from __future__ import annotations

from pathlib import Path

from ttplan.audit.keys import SigningKey, VerifyingKey, create_key, load_key, save_key
from ttplan.model.errors import KeyFileError
from ttplan.store.protocol import Store


class Keyring:
    """A store's signing key, loaded when it is first needed.

    With `makes_key` one is made in `key_file`, where the store has neither a key nor a chain.
    """

    def __init__(self, store: Store, key: SigningKey | None, key_file: Path | None, *, makes_key: bool = False) -> None:
        self._store = store
        self._key = key
        self._makes_key = makes_key
        self.key_file = key_file

    def signing(self) -> SigningKey:
        """The key that signs. Raises KeyFileError where there is none, or it cannot be used."""
        if self._key is None:
            if self.key_file is None:
                raise KeyFileError("this workspace has no signing key; open it with key or key_file")
            if self._makes_key and not self.key_file.exists() and not self._has_chain():
                save_key(create_key(), self.key_file)
            self._key = load_key(self.key_file)
        return self._key

    def verifying(self, given: str | VerifyingKey | None) -> tuple[VerifyingKey, str]:
        """The key to verify with, `given` or one's own, and who gave it. Raises KeyFileError."""
        if isinstance(given, VerifyingKey):
            return given, "the caller"
        if given is not None:
            return VerifyingKey.from_hex(given), "the caller"
        return self.signing().public_key, "this workspace itself"

    def _has_chain(self) -> bool:
        with self._store.read() as snapshot:
            org_id = snapshot.org_id()
            return org_id is not None and snapshot.tip(org_id) is not None
