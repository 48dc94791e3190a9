"""Rules, overrides and approvals; and routes adopted from a gateway."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import blake3
import duckdb
import pytest

import ttplan
from tests.audit.chains import KEY, OTHER_KEY
from tests.cli.support import check_error
from tests.display.test_cards import HOSTILE, Tags
from tests.logs.test_reader import numbered, write
from tests.support import plan_driver, plans
from tests.support.contexts import context_of
from tests.workspace.test_workspace import NOW, content, opened
from ttplan.apply import StoreChain, apply_plan
from ttplan.audit.canonical import canonical_json
from ttplan.audit.keys.key_files import SIGNING_KEY_VARIABLE, save_key
from ttplan.cli.entrypoint import run
from ttplan.display.checks import PolicyCheckCard
from ttplan.model.audit import ApiKey, User
from ttplan.model.errors import (
    ApplyError,
    DriftError,
    InputError,
    InvalidState,
    PlanNotFound,
    PolicyBlocked,
    UnsupportedByGateway,
)
from ttplan.model.plan import Clusters, ConfidenceIntervals
from ttplan.model.policy import Approvals, Override, Policy, PolicyCheck, Rule, RuleVerdict
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions
from ttplan.operations.chain.evidence import append_rotation
from ttplan.operations.plans.policy import approve, check_policy, set_policy
from ttplan.policy.approvals import approval_message, find_approvals, plan_digest
from ttplan.policy.rules import NUMERIC_FACTS, TEXT_FACTS, evaluate_rule, parse_rule, read_policy
from ttplan.quality.result import unverified_result
from ttplan.store.memory import MemoryStore
from ttplan.workspace import Workspace

ANN, BOB = User(UUID(int=11)), User(UUID(int=12))
BLOCKS = Policy(rules=(Rule(rule="savings > 1000"),))


def check_rule(text: str, **changes: Any) -> RuleVerdict:
    """Evaluate a rule on a plan whose result has these fields."""
    result = plans.result(UUID(int=1), (plans.route(1),)).model_copy(update=changes)
    return evaluate_rule(plans.run(1, result=result), Rule(rule=text))


# --- rules --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "ok"),
    [
        ("savings > 12.3", True),
        ("savings > 12.35", False),
        ("Savings  >=  12", True),
        ("requests = 1234", True),
        ("requests < 1_234", False),
        ("requests <= 1234", True),
        ("requests rerouted > 999", True),
        ("no unpriced targets", True),
        ("no requests", False),
        ("routes = 1", True),
        ("latency p95 < 2_001", True),
        ("savings > -1", True),
    ],
)
def test_rules_over_numbers(rule: str, ok: bool) -> None:
    assert check_rule(rule).ok is ok


def test_ends_of_intervals() -> None:
    ends = ConfidenceIntervals(projected_change_usd_95=(0.5, 2.0), p95_latency_ms_95=(100.0, 900.0))
    assert check_rule("savings lower bound > 0.4", confidence_intervals=ends).ok
    assert not check_rule("savings lower bound > 0.5", confidence_intervals=ends).ok
    assert check_rule("latency p95 upper bound <= 900", confidence_intervals=ends).ok


def test_an_unknown_fact_meets_no_rule() -> None:
    no_intervals = ConfidenceIntervals()
    for rule in (
        "savings lower bound > 0",
        "savings lower bound < 0",
        "no effective clusters",
        "risk band not high",
    ):
        verdict = check_rule(rule, confidence_intervals=no_intervals)
        assert (verdict.ok, verdict.found.endswith(": not known")) == (False, True)


def test_words_and_clusters() -> None:
    checked = unverified_result("nobody looked")
    assert check_rule("risk band is unverified", quality=checked).ok
    assert not check_rule("risk band not unverified", quality=checked).ok
    assert check_rule("risk band is not high", quality=checked).ok
    assert check_rule("interval method is limit", interval_method="limit").ok
    few = Clusters(count=50, effective=39.5, largest_share=0.1)
    assert not check_rule("effective clusters >= 40", clusters=few).ok
    assert (
        check_rule("effective clusters >= 39.5", clusters=few).found == "effective clusters: 39.5"
    )


def test_every_fact_can_be_evaluated() -> None:
    run_ = plans.run(1, (plans.route(1),))
    for fact in NUMERIC_FACTS:
        assert evaluate_rule(run_, Rule(rule=f"{fact} >= 0")).found.startswith(f"{fact}: ")
    for fact in TEXT_FACTS:
        assert evaluate_rule(run_, Rule(rule=f"{fact} is limit")).found.startswith(f"{fact}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a rule"),
        ("savings", "is not a rule; expected something like 'savings lower bound > 0'"),
        ("savings > many", "is not a rule"),
        ("luck > 3", "names 'luck', which is unknown; expected one of savings, "),
        ("no luck", "names 'luck'"),
        ("savings is high", "expected one of risk band, "),
    ],
)
def test_malformed_rules_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_rule(text)


def test_a_policy_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "rules:\n  - rule: savings > 0\n  - rule: no caveats\n    level: advisory\n"
        "approvals:\n  needed: 2\n"
    )
    assert read_policy(path) == Policy(
        rules=(Rule(rule="savings > 0"), Rule(rule="no caveats", level="advisory")),
        approvals=Approvals(needed=2),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "expected a policy with the key rules"),
        ("rules:\n  - rule: luck > 1", r"p\.yaml: rule 1: 'luck > 1' names 'luck'"),
        ("rules:\n  - rule: savings > 1\n    level: hard", r"rules\[0\]\.level: .*found 'hard'"),
        ("rule: x", "rule: this key is not known"),
        ("approvals:\n  needed: 0", r"approvals\.needed: .*found 0"),
    ],
)
def test_malformed_policies_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_policy(path)


# --- apply --------------------------------------------------------------------


@pytest.fixture(params=["memory", "file"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> plan_driver.PlanDriver:
    """A driver with a projected plan by ANN."""
    store = (
        MemoryStore() if request.param == "memory" else ttplan.DuckDBStore(tmp_path / "s.duckdb")
    )
    made = plan_driver.PlanDriver(store)
    made.project(1, plans.route(1), author=ANN)
    return made


def set_store_policy(driver: plan_driver.PlanDriver, policy: Policy | None) -> None:
    set_policy(context_of(driver.store, KEY, driver.clock), policy, actor=plan_driver.PERSON)


def test_without_a_policy_the_entry_has_none(driver: plan_driver.PlanDriver) -> None:
    assert check_policy(context_of(driver.store, KEY), UUID(int=1)) is None
    assert "policy_digest" not in driver.apply(1).payload


def test_a_blocking_rule_stops_the_apply_and_writes_nothing(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, BLOCKS)
    before = plan_driver.store_state(driver.store)
    with pytest.raises(PolicyBlocked, match=r"'savings > 1000' \(savings: 12\.345679\)") as error:
        driver.apply(1)
    assert error.value.rules == (("savings > 1000", "savings: 12.345679"),)
    assert plan_driver.store_state(driver.store) == before


def test_an_override_is_recorded_with_name_and_reason(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, BLOCKS)
    entry = driver.apply(1, override=Override(name="Ann", reason="the month ends"))
    assert entry.payload["override"] == {
        "by": "Ann",
        "reason": "the month ends",
        "rules": ["savings > 1000"],
    }
    assert len(entry.payload["policy_digest"]) == 64


def test_an_override_that_was_not_needed_is_not_recorded(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(
        driver,
        Policy(rules=(Rule(rule="savings > 1"), Rule(rule="savings > 1000", level="advisory"))),
    )
    entry = driver.apply(1, override=Override(name="Ann", reason="to be sure"))
    assert "override" not in entry.payload
    assert entry.payload["approvals"] == []


def test_setting_and_removing_a_policy_is_recorded(
    driver: plan_driver.PlanDriver,
) -> None:
    set_store_policy(driver, BLOCKS)
    set_store_policy(driver, None)
    driver.apply(1)
    events = [json.loads(record.body) for record in plan_driver.store_state(driver.store).entries]
    assert [event["event"] for event in events] == ["policy.set", "policy.set", "plan.applied"]
    assert events[0]["payload"]["rules"] == 1
    assert events[1]["payload"]["policy_digest"] is None


def test_an_unsigned_policy_stops_the_apply(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, BLOCKS)
    with driver.store.transaction() as tx:
        tx.set_policy(Policy())
    with pytest.raises(DriftError, match="the store's policy is not the signed one"):
        driver.apply(1)


def test_a_policy_removed_without_ttplan_stops_the_apply(
    driver: plan_driver.PlanDriver,
) -> None:
    set_store_policy(driver, BLOCKS)
    with driver.store.transaction() as tx:
        tx.set_policy(None)
    before = plan_driver.store_state(driver.store)
    with pytest.raises(
        DriftError, match="was removed without ttplan: set it again, with `ttplan set-policy`"
    ):
        driver.apply(1, override=Override(name="Ann", reason="why not"))
    assert plan_driver.store_state(driver.store) == before


@pytest.mark.parametrize(
    ("forged", "problem"),
    [
        # Someone with write access but without the key approves in another person's name.
        (
            "INSERT INTO audit_entries "
            "SELECT org_id, 2, event, logged_at, {approval}, hash, {hash}, signature "
            "FROM audit_entries WHERE seq = 1",
            "entry 2: bad signature",
        ),
        # … or turns an approval of another plan into one of this plan.
        (
            "UPDATE audit_entries SET body = {approval} WHERE seq = 1",
            "entry 1: its content hashes to",
        ),
        # … or removes the stricter policy that was set last.
        ("DELETE FROM audit_entries WHERE seq = 0", "entry 0: seq is 1"),
    ],
)
def test_a_forged_approval_or_policy_is_rejected(tmp_path: Path, forged: str, problem: str) -> None:
    path = tmp_path / "s.duckdb"
    driver = plan_driver.PlanDriver(ttplan.DuckDBStore(path))
    run_ = driver.project(1, plans.route(1), author=ANN)
    set_store_policy(driver, Policy(approvals=Approvals(needed=1)))
    driver.project(2)
    approve(context_of(driver.store, KEY, driver.clock), UUID(int=2), actor=BOB)
    last = plan_driver.store_state(driver.store).entries[1]
    body = json.loads(last.body)
    body["payload"] |= {"plan_id": str(run_.plan_id), "plan_digest": plan_digest(run_)}
    if "INSERT" in forged:
        body["seq"] = 2
    written = canonical_json(body)
    prev = last.hash if "INSERT" in forged else last.prev_hash
    values = {
        "approval": f"'{written.decode()}'",
        "hash": f"'{blake3.blake3(bytes.fromhex(prev) + written).hexdigest()}'",
    }
    with duckdb.connect(str(path)) as connection:
        connection.execute(forged.format(**values))
    before = plan_driver.store_state(driver.store)
    with pytest.raises(DriftError, match=f"cannot be trusted: {problem}"):
        check_policy(context_of(driver.store, KEY), UUID(int=1))
    # Nothing is appended to a last entry that is not signed with the chain's key.
    applying = (
        r"the chain's last entry \(2\) was not signed with this key"
        if "INSERT" in forged
        else f"cannot be trusted: {problem}"
    )
    with pytest.raises(ApplyError, match=applying):
        driver.apply(1)
    assert plan_driver.store_state(driver.store) == before


def test_a_chain_that_ends_with_another_key_is_rejected(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, Policy(approvals=Approvals(needed=1)))
    approve(context_of(driver.store, KEY, driver.clock), UUID(int=1), actor=BOB)
    with pytest.raises(DriftError, match="cannot be trusted"):
        check_policy(context_of(driver.store, OTHER_KEY), UUID(int=1))
    unverified_result = check_policy(context_of(driver.store), UUID(int=1))
    assert unverified_result is not None
    assert unverified_result.approved_by == (1,)


def test_approvals_hold_over_a_change_of_keys(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, Policy(approvals=Approvals(needed=1)))
    approve(context_of(driver.store, KEY, driver.clock), UUID(int=1), actor=BOB)
    append_rotation(driver.chain, OTHER_KEY, plan_driver.PERSON)
    (run_,) = plan_driver.store_state(driver.store).plans
    later = StoreChain(driver.store, OTHER_KEY, clock=driver.clock)
    assert apply_plan(
        driver.store, later, run_.result, plan_driver.PERSON, clock=driver.clock
    ).payload["approvals"] == [1]


# --- approvals ----------------------------------------------------------------


def approved(driver: plan_driver.PlanDriver, by: User, **options: Any) -> Any:
    return approve(context_of(driver.store, KEY, driver.clock), UUID(int=1), actor=by, **options)


def test_a_plan_waits_for_its_approvals(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, Policy(approvals=Approvals(needed=2)))
    with pytest.raises(
        PolicyBlocked, match=r"approved by 2 persons' \(0 approved it as it is now\)"
    ):
        driver.apply(1)
    approved(driver, ANN)
    approved(driver, ANN)
    with pytest.raises(PolicyBlocked, match="1 approved it as it is now"):
        driver.apply(1)
    approved(driver, BOB)
    assert driver.apply(1).payload["approvals"] == [1, 3]


def test_the_author_alone_cannot_approve(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, Policy(approvals=Approvals(needed=1, other_than_author=True)))
    approved(driver, ANN)
    with pytest.raises(PolicyBlocked, match="1 person other than its author"):
        driver.apply(1)
    approved(driver, BOB)
    assert driver.apply(1).payload["approvals"] == [2]


def test_a_plan_without_an_author_cannot_be_approved() -> None:
    driver = plan_driver.PlanDriver(MemoryStore())
    driver.project(1, plans.route(1))
    set_store_policy(driver, Policy(approvals=Approvals(needed=1, other_than_author=True)))
    approved(driver, BOB)
    with pytest.raises(PolicyBlocked, match="nobody is named as its author"):
        driver.apply(1)


def test_a_plan_that_changed_needs_a_new_approval(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, Policy(approvals=Approvals(needed=1)))
    approved(driver, BOB)
    with driver.store.transaction() as tx:
        tx.set_quality(UUID(int=1), unverified_result("nobody looked"))
    with pytest.raises(PolicyBlocked, match="0 approved it as it is now"):
        driver.apply(1)
    approved(driver, BOB)
    driver.apply(1)


def test_an_approvers_own_key_signs_the_digest(driver: plan_driver.PlanDriver) -> None:
    entry = approved(driver, BOB, key=OTHER_KEY)
    (run_,) = plan_driver.store_state(driver.store).plans
    message = approval_message(plan_digest(run_), plan_driver.ORG)
    assert entry.payload["plan_digest"] == plan_digest(run_)
    assert (
        OTHER_KEY.public_key.signature_problem(
            bytes.fromhex(entry.payload["approver_signature"]), message
        )
        is None
    )
    (approval,) = find_approvals(plan_driver.store_state(driver.store).entries, run_)
    assert (approval.actor, approval.key) == (BOB, OTHER_KEY.public_key.hex)


def test_a_signature_that_is_not_the_keys_does_not_count(driver: plan_driver.PlanDriver) -> None:
    (run_,) = plan_driver.store_state(driver.store).plans
    payload = {
        "plan_id": str(run_.plan_id),
        "plan_digest": plan_digest(run_),
        "approver_key": OTHER_KEY.public_key.hex,
        "approver_signature": KEY.sign(approval_message(plan_digest(run_), plan_driver.ORG)).hex(),
    }
    driver.chain.emit(plan_driver.ORG, BOB, "plan.approved", payload)
    driver.chain.emit(plan_driver.ORG, BOB, "plan.approved", {"plan_id": str(run_.plan_id)})
    assert find_approvals(plan_driver.store_state(driver.store).entries, run_) == []


def test_the_digest_is_of_all_that_is_approved_and_blinded() -> None:
    run_ = plans.run(1, (plans.route(1),), author=ANN)
    changed = [
        run_.model_copy(update={"name": "another"}),
        run_.model_copy(update={"author": BOB}),
        run_.model_copy(update={"pricing": {}}),
        run_.model_copy(update={"nonce": "ab" * 32}),
        run_.model_copy(update={"result": run_.result.model_copy(update={"caveats": ("x",)})}),
    ]
    assert len({plan_digest(variant) for variant in (run_, *changed)}) == 1 + len(
        [variant for variant in changed if variant != run_]
    )
    assert plan_digest(run_.model_copy(update={"status": "applied"})) == plan_digest(run_)


def test_invalid_approvals_are_refused(driver: plan_driver.PlanDriver) -> None:
    with pytest.raises(InputError, match="an approval is a person's, and 'api_key' is none"):
        approve(context_of(driver.store, KEY), UUID(int=1), actor=ApiKey(UUID(int=3)))
    with pytest.raises(PlanNotFound):
        approve(context_of(driver.store, KEY), UUID(int=9), actor=BOB)
    driver.apply(1)
    with pytest.raises(InvalidState):
        approved(driver, BOB)


def test_a_card_fits_and_escapes() -> None:
    verdict = RuleVerdict(rule=HOSTILE * 3, level="blocking", ok=False, found=HOSTILE)
    shown = PolicyCheckCard(
        PolicyCheck(
            plan_name=HOSTILE * 2, plan_digest="0" * 64, policy_digest="0" * 64, verdicts=(verdict,)
        )
    )
    assert all(len(line) <= 80 for line in repr(shown).splitlines())
    assert "BLOCKS" in repr(shown)
    assert "img" not in Tags(shown._repr_html_()).tags
    assert not shown.ok
    assert "no policy" in repr(PolicyCheckCard(None))


# --- what a gateway follows already -------------------------------------------


def route(name: str, **when: Any) -> ProposedRoute:
    return plans.named(
        name, when=RouteConditions(**when), then=RouteAction(target_model="gpt-4o-mini")
    )


def test_adopted_routes_claim_no_savings_and_export_the_same(tmp_path: Path) -> None:
    source = opened(tmp_path / "one.duckdb")
    source.import_logs(write(tmp_path / "log.jsonl", numbered(300, tag="chat")))
    source.apply(
        source.plan(
            [route("a", model_in=("gpt-4o",), tag_equals="chat"), route("bb", input_tokens_lt=9)],
            name="p",
        )
    )
    source.export_routes(tmp_path / "routes.json")
    target = opened(tmp_path / "other.duckdb")
    plan = target.adopt(tmp_path / "routes.json")
    assert (
        plan.status,
        plan.result.sample_size,
        float(plan.result.aggregates.projected_savings_usd),
    ) == ("projected", 0, 0.0)
    assert "claims no savings" in plan.result.caveats[0]
    entry = target.apply(plan)
    assert entry.payload["projected_savings_usd"] == 0.0
    assert target.drift().ok
    target.export_routes(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "routes.json").read_bytes()
    with pytest.raises(InputError, match="routes are live in this store already"):
        target.adopt(tmp_path / "routes.json")


def test_a_litellm_config_is_recognised(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "model_list:\n- {model_name: cheap, litellm_params: {model: openai/gpt-4o-mini}}\n"
    )
    ws = opened(tmp_path / "s.duckdb")
    (adopted,) = ws.adopt(config, name="theirs").result.proposed_routes
    assert (adopted.name, adopted.when.model_in, adopted.then.target_model) == (
        "cheap",
        ("cheap",),
        "gpt-4o-mini",
    )


def test_unsupported_fields_are_refused_unless_allowed(tmp_path: Path) -> None:
    routes = tmp_path / "r.yaml"
    routes.write_text("- {name: a, then: {target_model: m, traffic_pct: 5}}\n")
    ws = opened(tmp_path / "s.duckdb")
    before = content(tmp_path / "s.duckdb")
    with pytest.raises(UnsupportedByGateway, match=r"then\.traffic_pct"):
        ws.adopt(routes)
    assert content(tmp_path / "s.duckdb") == before
    assert "traffic_pct" in ws.adopt(routes, allow_loss=True).result.caveats[1]
    routes.write_text("[]")
    with pytest.raises(InputError, match="has no routes"):
        ws.adopt(routes)


# --- the workspace and the command line ---------------------------------------


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
    monkeypatch.setenv("TTPLAN_STORE", str(tmp_path / "s.duckdb"))
    moments = (NOW + timedelta(minutes=n) for n in range(10**6))
    made = opened(tmp_path / "s.duckdb", clock=lambda: next(moments))
    made.import_logs(write(tmp_path / "log.jsonl", numbered(300, tag="chat", latency_ms=900)))
    return made


def test_policy_commands(ws: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = str(ws.plan([route("a")], name="p", author=ANN).plan_id)
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "rules: [{rule: savings > 1000}]\napprovals: {needed: 1, other_than_author: true}\n"
    )
    check_error(["set-policy"], 2, "give either the file with the rules, or --none", capsys)
    assert run(["check-policy", plan]) == 0
    assert "no policy" in capsys.readouterr().out
    assert run(["set-policy", str(policy), "--user", str(UUID(int=12))]) == 0
    assert "policy set: " in capsys.readouterr().out
    assert run(["check-policy", plan, "--json"]) == 1
    assert [verdict["ok"] for verdict in json.loads(capsys.readouterr().out)["verdicts"]] == [
        False,
        False,
    ]
    assert run(["approve", plan, "--user", str(UUID(int=11))]) == 0
    assert (
        "BLOCKS  approved by 1 person other than its author  0 approved it"
        in capsys.readouterr().out
    )
    save_key(OTHER_KEY, tmp_path / "own.pem")
    assert (
        run(
            [
                "approve",
                plan,
                "--user",
                str(UUID(int=12)),
                "--own-key",
                str(tmp_path / "own.pem"),
                "--json",
            ]
        )
        == 0
    )
    assert (
        json.loads(capsys.readouterr().out)["payload"]["approver_key"] == OTHER_KEY.public_key.hex
    )
    check_error(["apply", plan, "--yes"], 1, "does not meet the policy: 'savings > 1000'", capsys)
    check_error(
        ["apply", plan, "--yes", "--reason", "because"], 2, "needs both --override-by", capsys
    )
    assert (
        run(["apply", plan, "--yes", "--override-by", "Ann", "--reason", "because", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["payload"]["override"]["by"] == "Ann"
    assert run(["set-policy", "--none"]) == 0


def test_adopt_makes_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
    monkeypatch.setenv("TTPLAN_STORE", str(tmp_path / "new.duckdb"))
    routes = tmp_path / "r.json"
    routes.write_text('[{"name": "a", "then": {"target_model": "m"}}]')
    assert run(["adopt", str(routes), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["name"] == "as the gateway has it"
    assert run(["apply", plan["plan_id"], "--yes"]) == 0
    check_error(["adopt", str(routes), "--from", "nginx"], 2, "'nginx' is no gateway", capsys)


def test_health_checks_the_policy(ws: Workspace, tmp_path: Path) -> None:
    def policy() -> tuple[bool, str]:
        (found,) = [check for check in ws.health().result.checks if check.name == "policy"]
        return found.ok, found.said

    assert policy() == (True, "none")
    ws.set_policy(BLOCKS)
    assert policy() == (True, "1 rule")
    with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
        connection.execute("DELETE FROM settings WHERE name = 'policy'")
    assert policy() == (False, "none, which is not what was signed for; set it anew")
    with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
        connection.execute("INSERT INTO settings VALUES ('policy', '{')")
    ok, said = policy()
    assert not ok
    assert "is corrupt" in said
