"""Each operation that writes retries after a conflict and takes effect once, on all stores."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.audit.chains import KEY, OTHER_KEY
from tests.logs.test_reader import numbered, write
from tests.store.conftest import STORES
from tests.support import plans
from tests.support.plan_driver import ORG, PERSON
from ttplan.model.audit import System
from ttplan.model.errors import Cancelled, StoreConflict
from ttplan.model.policy import Policy
from ttplan.operations.stores.copy import copy_into
from ttplan.store.protocol import Store, Transaction
from ttplan.store.transactions import MAX_ATTEMPTS, run_in_transaction
from ttplan.util.monitor import Monitor
from ttplan.workspace import Workspace
from ttplan.workspace.open import open_workspace

SOURCE = Path(open_workspace.__code__.co_filename).parent.parent
OWN_TRANSACTIONS = {"operations/logs/import_logs.py"}
"""Modules that begin a transaction themselves, since a retry has to repeat more than it."""


class Way:
    """Makes the next transactions of a store end in a conflict, after all their writes."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.blocked = 0
        self.begun = 0
        original = type(store).transaction

        @contextmanager
        def transaction(this: Any) -> Iterator[Transaction]:
            self.begun += 1
            with original(this) as tx:
                yield tx
                if self.blocked:
                    self.blocked -= 1
                    raise StoreConflict("others wrote at the same moment")

        monkeypatch.setattr(type(store), "transaction", transaction)
        monkeypatch.setattr(time, "sleep", lambda _: None)


@pytest.fixture
def way(store: Store, monkeypatch: pytest.MonkeyPatch) -> Way:
    return Way(store, monkeypatch)


@pytest.mark.parametrize(
    "store",
    [
        "duckdb",
        pytest.param("memory", marks=pytest.mark.slow),
        pytest.param("postgres", marks=pytest.mark.postgres),
    ],
    indirect=True,
)
def test_every_operation_that_writes_is_retried_and_done_once(
    store: Store, way: Way, tmp_path: Path
) -> None:
    gateway = tmp_path / "routes.json"
    gateway.write_text(
        json.dumps(
            [
                {
                    "id": str(UUID(int=90)),
                    "name": "r",
                    "when": {},
                    "then": {"target_model": "gpt-4o-mini"},
                }
            ]
        )
    )
    log = write(tmp_path / "log.jsonl", numbered(3))
    workspace = Workspace(store, name="it", key=KEY)
    (tmp_path / "another").mkdir()
    another = STORES[type(store).__name__.removesuffix("Store").lower()](tmp_path / "another")
    made: dict[str, UUID] = {}

    def planned(name: str) -> Callable[[], object]:
        def work() -> None:
            route = plans.named(name)
            made[name] = workspace.plan(
                [route], name=name, allow_unpriced=True, progress=False
            ).plan_id

        return work

    def edited() -> object:
        way.blocked = 0
        with store.transaction() as tx:
            tx.set_live_routes(ORG, ())
        way.blocked = 2
        return workspace.repair(actor=System())

    verbs: dict[str, Callable[[], object]] = {
        "the organisation": lambda: Workspace(store, name="it", key=KEY, org_id=ORG),
        "import": lambda: workspace.import_logs(log, progress=False),
        "adopt": lambda: workspace.adopt(gateway, "tokentrimmer"),
        "plan": planned("a"),
        "policy": lambda: workspace.set_policy(Policy(), actor=System()),
        "approve": lambda: workspace.approve(made["a"], actor=PERSON),
        "apply": lambda: workspace.apply(made["a"], actor=System()),
        "repair": edited,
        "revert": lambda: workspace.revert(made["a"], actor=System()),
        "emit": lambda: workspace._context.chain().emit(ORG, System(), "something", {}),
        "rotate": lambda: workspace.evidence.rotate_key(OTHER_KEY),
        "copy": lambda: copy_into(store, another, None, own_key=False),
    }
    blocked = {}
    for name, verb in verbs.items():
        way.blocked, way.begun = 2, 0
        verb()
        blocked[name] = way.blocked
    assert blocked == dict.fromkeys(verbs, 0)
    with store.read() as snapshot:
        events = [json.loads(record.body)["event"] for record in snapshot.entries(ORG)]
        assert (snapshot.request_count(), len(snapshot.plans(ORG))) == (3, 2)
    done = [
        "policy.set",
        "plan.approved",
        "plan.applied",
        "routes.repaired",
        "plan.reverted",
        "something",
        "audit.key_rotated",
    ]
    assert events == done


def test_a_conflict_in_every_attempt_is_raised_in_the_end(store: Store, way: Way) -> None:
    way.blocked = MAX_ATTEMPTS
    with pytest.raises(StoreConflict):
        run_in_transaction(store, lambda tx: tx.add_plan(plans.run(1)))
    assert (way.begun, way.blocked) == (MAX_ATTEMPTS, 0)
    run_in_transaction(store, lambda tx: tx.add_plan(plans.run(1)))
    with store.read() as snapshot:
        assert len(snapshot.plans(ORG)) == 1


def test_a_wait_for_a_retry_is_reported_and_can_be_cancelled(store: Store, way: Way) -> None:
    def stop(holder: str) -> None:
        raise Cancelled(holder)

    way.blocked = 1
    with (
        pytest.raises(Cancelled, match="other writers of the same rows"),
        Monitor(on_wait=stop).watch_waits(),
    ):
        run_in_transaction(store, lambda tx: tx.add_plan(plans.run(1)))
    assert way.begun == 1


def test_only_listed_modules_begin_transactions() -> None:
    """So that each new operation that writes is retried, too."""
    modules = set()
    for path in SOURCE.rglob("*.py"):
        if ".transaction(" not in path.read_text():
            continue
        place = path.relative_to(SOURCE)
        calls = [
            node.func
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        ]
        if place.parts[0] != "store" and any(
            isinstance(call, ast.Attribute) and call.attr == "transaction" for call in calls
        ):
            modules.add(place.as_posix())
    assert modules == OWN_TRANSACTIONS
