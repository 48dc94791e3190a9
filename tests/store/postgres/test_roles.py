"""The rights of each role in a PostgreSQL store, as the table in the documentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import psycopg
import pytest

from tests.audit.chains import KEY
from tests.paths import DOCS
from tests.store.test_contract import rows
from tests.support import plans
from tests.support.contexts import context_of
from tests.support.plan_driver import AT, ORG, PERSON, PlanDriver
from tests.support.postgres import database
from ttplan.apply import StoreChain, apply_plan, revert_plan
from ttplan.model.errors import ApplyError
from ttplan.model.policy import Policy
from ttplan.model.stored_plan import LiveRoute
from ttplan.operations.plans.policy import approve, set_policy
from ttplan.quality.result import unverified_result
from ttplan.store.postgres.store import PostgresStore

pytestmark = pytest.mark.postgres

DOCS = DOCS / "postgres.md"
OTHER = UUID(int=2)
ROLES = ("analyst", "operator", "auditor", "gateway")
FIRST, SECOND, LIVE, OTHERS = (UUID(int=n) for n in (1, 2, 3, 9))


class As(NamedTuple):
    """A logged-in user: opens a store, and runs SQL."""

    url: str

    @property
    def store(self) -> PostgresStore:
        return PostgresStore(self.url)

    @property
    def chain(self) -> StoreChain:
        return StoreChain(self.store, KEY)

    def sql(self, statement: str) -> int:
        """How many rows a statement found or changed."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(statement.encode()).rowcount


def _read(who: As) -> bool:
    with who.store.read() as snapshot:
        return bool(
            snapshot.plans(ORG)
            and snapshot.live_routes(ORG)
            and list(snapshot.entries(ORG))
            and snapshot.request_count()
        )


def _import(who: As) -> bool:
    with who.store.transaction() as tx:
        return tx.add_requests([rows(77)], ORG).added == 1


def _plan(who: As) -> bool:
    with who.store.transaction() as tx:
        tx.add_plan(plans.run(20))
    return True


def _judge(who: As) -> bool:
    with who.store.transaction() as tx:
        tx.set_quality(FIRST, unverified_result("nobody looked.", population=3))
    return True


def _apply(who: As) -> bool:
    with who.store.read() as snapshot:
        run = snapshot.plan(SECOND)
    assert run is not None
    return apply_plan(who.store, who.chain, run.result, PERSON).seq == 1


def _repair(who: As) -> bool:
    with who.store.transaction() as tx:
        tx.set_live_routes(ORG, [LiveRoute(route=plans.route(3), plan_id=LIVE, applied_at=AT)])
    return True


def _see_others(who: As) -> bool:
    with who.store.read() as snapshot:
        return bool(snapshot.plans(OTHER) or snapshot.plan(OTHERS))


def _plan_for_others(who: As) -> bool:
    with who.store.transaction() as tx:
        tx.add_plan(plans.run(21, org_id=OTHER))
    return True


def _poll(who: As) -> bool:
    return who.sql("SELECT * FROM ttplan_gateway.routes") == 1


def _sql(statement: str) -> Callable[[As], bool]:
    return lambda who: who.sql(statement) > 0


ENTRY = "SELECT org_id, {}, event, logged_at, body, {}, {}, signature FROM ttplan.audit_entries"
DOINGS: dict[str, tuple[Callable[[As], bool], str]] = {
    "read plans, live routes, chain and requests of its organisation": (
        _read,
        "analyst operator auditor owner",
    ),
    "import requests": (_import, "analyst owner"),
    "make a plan": (_plan, "analyst owner"),
    "keep what was found of the answers' quality": (_judge, "analyst owner"),
    "apply a plan": (_apply, "operator owner"),
    "revert a plan": (
        lambda who: revert_plan(who.store, who.chain, LIVE, PERSON).seq == 1,
        "operator owner",
    ),
    "repair the live routes": (_repair, "operator owner"),
    "approve a plan": (
        lambda who: approve(context_of(who.store, KEY), FIRST, actor=PERSON).seq == 1,
        "operator owner",
    ),
    "set the policy": (
        lambda who: set_policy(context_of(who.store, KEY), Policy(), actor=PERSON).seq == 1,
        "operator owner",
    ),
    "poll `ttplan_gateway.routes`": (_poll, "analyst operator auditor gateway owner"),
    "see anything of another organisation": (_see_others, "owner"),
    "make a plan for another organisation": (_plan_for_others, "owner"),
    "change what an applied plan found": (
        _sql(f"UPDATE ttplan.plan_runs SET result = result || ' ' WHERE plan_id = '{LIVE}'"),
        "operator owner",
    ),
    "make an applied plan a projected one": (
        _sql(
            "UPDATE ttplan.plan_runs SET status = 'projected', applied_at = NULL "
            f"WHERE plan_id = '{LIVE}'"
        ),
        "owner",
    ),
    "delete a plan": (_sql("DELETE FROM ttplan.plan_runs"), "owner"),
    "change an entry of the chain": (_sql("UPDATE ttplan.audit_entries SET event = 'x'"), ""),
    "delete entries of the chain": (_sql("DELETE FROM ttplan.audit_entries"), ""),
    "empty the chain (TRUNCATE)": (lambda who: who.sql("TRUNCATE ttplan.audit_entries") < 0, ""),
    "append an entry in another's place": (
        _sql(
            "INSERT INTO ttplan.audit_entries " + ENTRY.format("0", "prev_hash", "repeat('a', 64)")
        ),
        "",
    ),
    "append an entry with a gap before it": (
        _sql("INSERT INTO ttplan.audit_entries " + ENTRY.format("2", "hash", "repeat('a', 64)")),
        "",
    ),
    "say who is a member of which organisation": (
        _sql(f"INSERT INTO ttplan.members VALUES ('ttplan_test_analyst', '{OTHER}')"),
        "owner",
    ),
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with an applied plan and two projected ones of one organisation, a plan of another
    one, and a login for each role."""
    database_url = database(tmp_path)
    driver = PlanDriver(PostgresStore(database_url, org_id=ORG))
    driver.live(3, plans.route(3))
    driver.project(1, plans.route(1))
    driver.project(2, plans.route(2))
    with PostgresStore(database_url).transaction() as tx:
        tx.add_plan(plans.run(9, org_id=OTHER))
        tx.add_requests([rows(1)], ORG)
    with psycopg.connect(database_url) as connection:
        for role in ROLES:
            login = f"ttplan_test_{role}"
            if (
                connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [login]).fetchone()
                is None
            ):
                connection.execute(f"CREATE ROLE {login} LOGIN IN ROLE ttplan_{role}".encode())
            connection.execute("INSERT INTO ttplan.members VALUES (%s, %s)", [login, ORG])
    return database_url


def may(url: str, role: str, action: Callable[[As], bool]) -> bool:
    """Whether a login of a role can do it: otherwise it gets an error or no rows."""
    login = "tester" if role == "owner" else f"ttplan_test_{role}"
    try:
        return action(As(url.replace("tester", login)))
    except ApplyError as error:
        if "may not" not in str(error):
            raise
        return False
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException):
        return False


def table(rights: dict[str, list[str]]) -> str:
    """The rights of each role as a Markdown table."""
    columns = (*ROLES, "owner")
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    lines += [
        f"| {words} | " + " | ".join("yes" if role in can else "–" for role in columns) + " |"
        for words, can in rights.items()
    ]
    return "\n".join(lines)


@pytest.mark.parametrize("words", DOINGS)
def test_each_role_has_its_rights_and_no_more(url: str, words: str, tmp_path: Path) -> None:
    action, expected = DOINGS[words]
    # First those that fail, and the owner last: after it nothing is restored.
    can = []
    for role in sorted((*ROLES, "owner"), key=lambda role: role in expected.split()):
        if may(url, role, action):
            can.append(role)
            if role != "owner":
                _undo(url)
    assert sorted(can) == sorted(expected.split())


def _undo(url: str) -> None:
    """Restore the state of the fixture, without an entry in the chain."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in (
            "DELETE FROM ttplan.audit_entries WHERE seq > 0",
            f"DELETE FROM ttplan.plan_runs WHERE plan_id IN ('{UUID(int=20)}', '{UUID(int=21)}')",
            f"DELETE FROM ttplan.requests WHERE id = '{UUID(int=77)}'",
            "DELETE FROM ttplan.settings WHERE name = 'policy'",
            "UPDATE ttplan.plan_runs SET status = 'projected', applied_at = NULL, replaced = NULL "
            f"WHERE plan_id = '{SECOND}'",
            "UPDATE ttplan.plan_runs SET status = 'applied', reverted_at = NULL "
            f"WHERE plan_id = '{LIVE}'",
            f"DELETE FROM ttplan.members WHERE org_id = '{OTHER}'",
        ):
            connection.execute(statement.encode())
    with PostgresStore(url).transaction() as tx:
        run = tx.plan(LIVE)
        assert run is not None
        assert run.applied_at is not None
        tx.set_live_routes(
            ORG, [LiveRoute(route=plans.route(3), plan_id=LIVE, applied_at=run.applied_at)]
        )


def test_the_docs_show_this_table() -> None:
    """To rewrite it: `python -m tests.store.postgres.test_roles`."""
    assert table({words: can.split() for words, (_, can) in DOINGS.items()}) in DOCS.read_text()


if __name__ == "__main__":
    head, _, rest = DOCS.read_text().partition("<!-- roles -->\n")
    _, _, tail = rest.partition("<!-- end of roles -->\n")
    made = table({words: can.split() for words, (_, can) in DOINGS.items()})
    DOCS.write_text(f"{head}<!-- roles -->\n{made}\n<!-- end of roles -->\n{tail}")
