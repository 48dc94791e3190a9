"""The keys of one workspace: what signs its chain, and what verifies it."""

from __future__ import annotations

import os
from pathlib import Path

from ttplan.audit.keys.key_files import SigningKey, VerifyingKey, ensure_key, load_key
from ttplan.audit.keys.signer import Signer
from ttplan.audit.rotation import is_continued_by
from ttplan.model.errors import KeyFileError
from ttplan.store.protocol import Store


class Keyring:
    """A store's signing key, loaded when it is first needed.

    With `makes_key` one is made in `key_file`, where the store has neither a key nor a chain. Key files are written and read with
    `passphrase`, where one is given.
    """

    def __init__(
        self,
        store: Store,
        key: Signer | None,
        key_file: Path | None,
        *,
        makes_key: bool = False,
        passphrase: bytes | None = None,
    ) -> None:
        self._store = store
        self._key = key
        self._makes_key = makes_key
        self._passphrase = passphrase
        self.key_file = key_file

    def signing(self) -> Signer:
        """The key that signs. Raises KeyFileError where there is none, or it cannot be used."""
        if self._key is None:
            if self.key_file is None:
                raise KeyFileError(
                    "this workspace has no signing key; open it with key or key_file, or say whose to verify "
                    "with (public_key)"
                )
            if self._makes_key and not os.path.exists(self.key_file) and not self._has_chain():
                ensure_key(self.key_file, passphrase=self._passphrase)
            self._key = self._load(self.key_file)
        return self._key

    def existing(self) -> Signer:
        """The key that signs, and none is made where there is none. Raises KeyFileError."""
        if self._key is None and self.key_file is not None:
            return self._load(self.key_file)
        return self.signing()

    def verifying(self, given: str | VerifyingKey | None) -> tuple[VerifyingKey, str]:
        """The key to verify with, `given` or one's own, and who gave it. Raises KeyFileError."""
        if isinstance(given, VerifyingKey):
            return given, "the caller"
        if given is not None:
            return VerifyingKey.from_hex(given), "the caller"
        return self.signing().public_key, "this workspace itself"

    def verifying_if_any(self, given: str | VerifyingKey | None) -> VerifyingKey | None:
        """The key to verify with; None where there is none to be had. Raises KeyFileError where `given` cannot be used."""
        if given is not None:
            return self.verifying(given)[0]
        try:
            return self.existing().public_key
        except KeyFileError:
            return None

    def next_signing(self) -> Signer:
        """The key to rotate to: that in the file beside the key's own, made where there is none.

        It is on the disk before an entry names it, so whenever a rotation is broken off, another try goes on with the same key.
        Raises KeyFileError where the workspace's key is in no file.
        """
        file = self._next_file()
        ensure_key(file, passphrase=self._passphrase)
        return load_key(file, passphrase=self._passphrase)

    def take_next(self) -> bool:
        """Put the key to rotate to in the place of the old one, which is kept as `<file>.<its first 8 digits>.old`.

        False, and nothing done, where there is none or the chain does not go on with it.
        """
        if self.key_file is None or not os.path.exists(self._next_file()):
            return False
        new = load_key(self._next_file(), passphrase=self._passphrase)
        if not self._goes_on_with(new.public_key):
            return False
        old = load_key(self.key_file, passphrase=self._passphrase)
        if old.public_key != new.public_key:  # or another process has put it there in this moment
            self._put(new, old, self.key_file)
        self._key = new
        return True

    def use(self, key: Signer) -> None:
        """Sign with another key from now on."""
        self._key = key

    def _load(self, file: Path) -> SigningKey:
        try:
            return load_key(file, passphrase=self._passphrase)
        except KeyFileError:
            if os.path.exists(file) or not self._has_chain():
                raise
            raise KeyFileError(
                f"no signing key at {file}, and the chain does not go on with a new one: look for it in backups, or name the "
                "file (key_file). To verify the chain its public key is enough (public_key)"
            ) from None

    def _put(self, new: SigningKey, old: SigningKey, key_file: Path) -> None:
        kept = key_file.with_name(f"{key_file.name}.{old.public_key.hex[:8]}.old")
        try:
            if not os.path.exists(kept):
                os.link(key_file, kept)
            os.replace(self._next_file(), key_file)
        except OSError as error:
            if load_key(key_file, passphrase=self._passphrase).public_key != new.public_key:
                raise KeyFileError(
                    f"{key_file} cannot be replaced: {error.strerror}; put {self._next_file()} there"
                ) from None

    def _next_file(self) -> Path:
        if self.key_file is None:
            raise KeyFileError(
                "this workspace's key is in no file; say which key to rotate to (new_key)"
            )
        return self.key_file.with_name(self.key_file.name + ".next")

    def _has_chain(self) -> bool:
        with self._store.read() as snapshot:
            org_id = snapshot.org_id()
            return org_id is not None and snapshot.tip(org_id) is not None

    def _goes_on_with(self, key: VerifyingKey) -> bool:
        with self._store.read() as snapshot:
            org_id = snapshot.org_id()
            tip = None if org_id is None else snapshot.tip(org_id)
            if org_id is None or tip is None:
                return False
            return is_continued_by(next(iter(snapshot.entries(org_id, since=tip.seq))), key)
