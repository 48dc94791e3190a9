"""The wiring of a workspace, and what makes an operation a method of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, overload
from uuid import UUID, uuid4

from ttplan.apply import Clock, utc_now
from ttplan.audit.keys.signer import Signer
from ttplan.audit.proofs.anchors import TipPublisher
from ttplan.display.evidence import (
    CheckpointCard,
    CustomerCheckpointCard,
    DisclosureCard,
    EntryCard,
    ProofCard,
    PublishedAnchorCard,
)
from ttplan.model.audit import AuditEntry
from ttplan.operations.chain import evidence
from ttplan.operations.context import Context, new_nonce
from ttplan.operations.keyring import Keyring
from ttplan.store.protocol import Store
from ttplan.store.transactions import run_in_transaction

P = ParamSpec("P")
Result = TypeVar("Result")
Shown = TypeVar("Shown")


class Bindable:
    """A namespace whose methods are operations on one context."""

    def __init__(self, context: Context) -> None:
        self._context = context


class WorkspaceBase(Bindable):
    """A store with its key, clock and source of ids.

    `org_id` is the organisation that the store belongs to from now on. `own_org` is the only
    one that it can belong to, if that is decided elsewhere.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        key: Signer | None = None,
        key_file: Path | None = None,
        makes_key: bool = False,
        passphrase: bytes | None = None,
        publisher: TipPublisher | None = None,
        org_id: UUID | None = None,
        own_org: UUID | None = None,
        clock: Clock = utc_now,
        new_id: Callable[[], UUID] = uuid4,
        new_nonce: Callable[[], str] = new_nonce,
    ) -> None:
        keys = Keyring(store, key, key_file, makes_key=makes_key, passphrase=passphrase)
        super().__init__(
            Context(
                store,
                name,
                keys,
                clock,
                new_id,
                new_nonce,
                on_tip=publisher,
                kept_anchors=None if publisher is None else publisher.kept,
                own_org=own_org,
            )
        )
        if org_id is not None and self._context.org_id() != org_id:
            run_in_transaction(store, lambda tx: tx.set_org_id(org_id))

    @property
    def store(self) -> Store:
        """The store that the workspace works on."""
        return self._context.store

    def __repr__(self) -> str:
        return f"Workspace({self._context.name!r})"


@overload
def bound(
    operation: Callable[Concatenate[Context, P], Result],
) -> Callable[Concatenate[Any, P], Result]: ...


@overload
def bound(
    operation: Callable[Concatenate[Context, P], Result], show: Callable[[Result], Shown]
) -> Callable[Concatenate[Any, P], Shown]: ...


def bound(operation: Callable[..., Any], show: Callable[[Any], Any] | None = None) -> Any:
    """Make a method of an operation: called on the context of `self`, its result passed to `show`.

    The operation is the only place where parameters and documentation stand. The method has its
    signature and its docstring; only the returned type is the one that `show` makes.
    """

    @wraps(operation)
    def method(self: Bindable, /, *args: Any, **options: Any) -> Any:
        result = operation(self._context, *args, **options)
        return result if show is None else show(result)

    signature = inspect.signature(operation)
    _, *parameters = signature.parameters.values()
    returned = signature.return_annotation if show is None else _returned_by(show)
    method.__annotations__ = {**operation.__annotations__, "return": returned}
    method.__annotations__.pop(next(iter(signature.parameters)))
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *parameters],
        return_annotation=returned,
    )
    return method


def _returned_by(show: Callable[[Any], Any]) -> Any:
    return show if isinstance(show, type) else inspect.signature(show).return_annotation


def unpacked(card: Callable[..., Shown]) -> Callable[[tuple[Any, ...]], Shown]:
    """Make a card of a named tuple: the card is a named tuple with the same fields."""

    def show(fields: tuple[Any, ...]) -> Shown:
        return card(*fields)

    show.__annotations__["return"] = card
    return show


def entry_card_or_none(entry: AuditEntry | None) -> EntryCard | None:
    """The card of an audit entry, if there is one."""
    return None if entry is None else EntryCard.of(entry)


class Evidence(Bindable):
    """Anchors, proofs, checkpoints and disclosures of a chain, and handing it to another key."""

    hashes = bound(evidence.hashes)
    anchor = bound(evidence.anchor, unpacked(PublishedAnchorCard))
    prove = bound(evidence.prove, unpacked(ProofCard))
    customer_checkpoint = bound(evidence.customer_checkpoint, unpacked(CustomerCheckpointCard))
    sign_tree = bound(evidence.sign_tree, unpacked(CheckpointCard))
    disclose = bound(evidence.disclose, unpacked(DisclosureCard))
    rotate_key = bound(evidence.rotate_key, entry_card_or_none)
