"""The keys of one workspace: what signs its chain, and what verifies it."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from ttplan.audit.keys.key_files import SigningKey, VerifyingKey, ensure_key, load_key
from ttplan.audit.keys.signer import Signer
from ttplan.audit.rotation import is_continued_by
from ttplan.model.errors import KeyFileError
from ttplan.store.protocol import Store


class Keyring:
    """A store's signing key, loaded when it is first needed.

    With `makes_key`, the first signature creates a key in `key_file` if the store has neither a key
    nor a chain. Key files are written and read with `passphrase`, if there is one. Only signing and
    rotating create a file: everything else reads.
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
        """The key to sign with, created if need be. Raises KeyFileError."""
        if self._key is None:
            if self._may_create():
                ensure_key(self._file(), passphrase=self._passphrase)
            self._key = self._load(self._file())
        return self._key

    def existing(self) -> Signer:
        """The key to sign with, if it exists already. Raises KeyFileError if it does not."""
        if self._key is not None:
            return self._key
        if self._may_create():
            raise KeyFileError(
                f"there is no signing key at {self.key_file} yet; the first entry that is signed "
                "creates it"
            )
        return self._load(self._file())

    def verifying(self, public_key: str | VerifyingKey | None) -> tuple[VerifyingKey, str]:
        """The key to verify with, given or the store's, and its source. Raises KeyFileError."""
        if public_key is None:
            return self.existing().public_key, "this workspace itself"
        if isinstance(public_key, str):
            public_key = VerifyingKey.from_hex(public_key)
        return public_key, "the caller"

    def verifying_or_none(self, public_key: str | VerifyingKey | None) -> VerifyingKey | None:
        """As `verifying`; None if there is no key. Raises KeyFileError for an invalid one."""
        try:
            return self.verifying(public_key)[0]
        except KeyFileError:
            if public_key is not None:
                raise
            return None

    def next_signing(self) -> Signer:
        """The key to rotate to, from the file beside the key's own, created if need be.

        It is on the disk before an entry names it. If a rotation is interrupted, the next attempt
        goes on with the same key. Raises KeyFileError if the workspace's key is not in a file.
        """
        file = self._next_file()
        ensure_key(file, passphrase=self._passphrase)
        return load_key(file, passphrase=self._passphrase)

    def take_next(self) -> bool:
        """Put the key to rotate to in the place of the old one.

        The old one is kept as `<file>.<its first 8 digits>.old`. Returns False, and does nothing,
        if there is no next key or the chain does not go on with it.
        """
        if self.key_file is None or not os.path.exists(self._next_file()):
            return False
        new = load_key(self._next_file(), passphrase=self._passphrase)
        if not self._goes_on_with(new.public_key):
            return False
        old = load_key(self.key_file, passphrase=self._passphrase)
        if old.public_key != new.public_key:  # or another process has just put it there
            self._replace(new, old, self.key_file)
        self._key = new
        return True

    def use(self, key: Signer) -> None:
        """Sign with another key from now on."""
        self._key = key

    def former_files(self) -> list[Path]:
        """The files with former keys that rotations left beside the key file."""
        return [] if self.key_file is None else former_key_files(self.key_file)

    def _file(self) -> Path:
        if self.key_file is None:
            raise KeyFileError(
                "this workspace has no signing key; open it with key or key_file, or say whose "
                "key to verify with (public_key)"
            )
        return self.key_file

    def _may_create(self) -> bool:
        """Whether this is a store without key and chain that is to get a key."""
        return (
            self._makes_key
            and self.key_file is not None
            and not os.path.exists(self.key_file)
            and not self._has_chain()
        )

    def _load(self, file: Path) -> SigningKey:
        try:
            return load_key(file, passphrase=self._passphrase)
        except KeyFileError:
            if os.path.exists(file) or not self._has_chain():
                raise
            raise KeyFileError(
                f"no signing key at {file}, and the chain does not go on with a new one: look for "
                "it in backups, or name the file (key_file). To verify the chain its public key "
                "is enough (public_key)"
            ) from None

    def _replace(self, new: SigningKey, old: SigningKey, key_file: Path) -> None:
        kept = key_file.with_name(f"{key_file.name}.{old.public_key.hex[:8]}.old")
        try:
            if not os.path.exists(kept):
                os.link(key_file, kept)
            os.replace(self._next_file(), key_file)
        except OSError as error:
            if load_key(key_file, passphrase=self._passphrase).public_key != new.public_key:
                raise KeyFileError(
                    f"{key_file} cannot be replaced: {error.strerror}; "
                    f"put {self._next_file()} there"
                ) from None

    def _next_file(self) -> Path:
        if self.key_file is None:
            raise KeyFileError(
                "this workspace's key is not in a file; say which key to rotate to (new_key)"
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


def former_key_files(key_file: Path) -> list[Path]:
    """The files with former keys that rotations left beside a key file."""
    name = glob.escape(key_file.name)
    return sorted(key_file.absolute().parent.glob(f"{name}.????????.old"))
