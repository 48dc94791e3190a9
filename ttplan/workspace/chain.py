"""Verbs on the audit chain: verify, export, and what convinces others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.rotation import list_keys
from ttplan.audit.verify.options import SignatureScope, VerifyOptions
from ttplan.audit.verify.report import ChainReport
from ttplan.model.audit import StoredEntry, TipAnchor
from ttplan.util.monitor import CountCallback
from ttplan.util.paths import PathLike
from ttplan.workspace.base import Wiring

if TYPE_CHECKING:
    from ttplan.workspace.evidence import Evidence


class ChainVerbs(Wiring):
    """Prove it."""

    def verify(
        self,
        *,
        public_key: str | VerifyingKey | None = None,
        since: str | TipAnchor | None = None,
        anchor: str | TipAnchor | None = None,
        passes_through: Iterable[TipAnchor] = (),
        distrust_after: TipAnchor | None = None,
        signatures: SignatureScope = "all",
        progress: bool | CountCallback | None = None,
        on_fork: Callable[[bytes], None] | None = None,
        resume: PathLike | None = None,
    ) -> ChainReport:
        """Verify the audit chain and report the first bad entry.

        With `public_key` from elsewhere the verdict is "verified"; without one, the workspace's own key is used, and the chain is
        only "consistent with its own key". `progress` of None shows a bar to a person; a function is told how many entries are
        done, of how many, and may raise to end it. The rest is as in `ttplan.verify_file`.
        """
        from ttplan.operations.chain.verify import verify_store

        key, source = self._keys.verifying(public_key)
        options = VerifyOptions.parse(
            public_key=public_key,
            since=since,
            anchor=anchor,
            passes_through=passes_through,
            distrust_after=distrust_after,
            signatures=signatures,
            on_fork=on_fork,
            resume=resume,
        )
        return verify_store(self.store, key, options, key_source=source, progress=progress)

    def entries(self, *, since: int = 0, limit: int = 100) -> list[StoredEntry]:
        """At most `limit` entries of the chain from seq `since` on, as they are stored: to look at, not verified."""
        from ttplan.operations.chain.verify import read_entries

        return read_entries(self.store, since, limit)

    def export_chain(
        self,
        path: PathLike,
        *,
        overwrite: bool = False,
        until: int | None = None,
        with_verifier: bool = False,
    ) -> int:
        """Write the audit chain, up to seq `until`, as JSON lines and return how many entries that is.

        The file appears whole or not at all, with a verifier in one file beside it where that is asked for. Raises InputError
        where there is one already, unless `overwrite`.
        """
        from ttplan.operations.chain.verify import export_chain

        key, _ = self._keys.verifying(None)
        options = {"overwrite": overwrite, "with_verifier": with_verifier}
        return export_chain(self.store, key, path, name=self._name, until=until, **options)

    @property
    def public_key(self) -> str:
        """The key that this workspace's chain began with, 64 hex digits: what an auditor needs, given on a way of its own."""
        current = self._keys.signing().public_key
        with self.store.read() as snapshot:
            org_id = snapshot.org_id()
            return (
                current.hex
                if org_id is None
                else list_keys(snapshot.entries(org_id), current)[0].hex
            )

    @property
    def signing_key(self) -> str:
        """The public half of the key that signs now, 64 hex digits: `public_key`, until the chain was handed over to another."""
        return self._keys.signing().public_key.hex

    def anchor(self) -> TipAnchor | None:
        """Where the chain ends now; kept elsewhere, it later proves that nothing was cut off."""
        with self.store.read() as snapshot:
            org_id = snapshot.org_id()
            return None if org_id is None else snapshot.tip(org_id)

    @property
    def evidence(self) -> Evidence:
        """What of this store convinces others: anchors, proofs, checkpoints, disclosures, and handing over to another key."""
        from ttplan.workspace.evidence import Evidence

        return Evidence(self.store, self._keys, self._chain, clock=self._clock)
