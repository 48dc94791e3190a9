"""Quality checks of stored plans: the sample, the calls, the stored result and its display."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.quality.chat_server import completion, serving, verdict_reply
from tests.workspace.test_workspace import opened
from ttplan.cli.entrypoint import run
from ttplan.model.errors import InputError
from ttplan.model.request import RequestLog
from ttplan.model.results.quality import Verdict
from ttplan.model.results.verdicts import Worse
from ttplan.quality.judge.labels import AnswerPairs
from ttplan.quality.protocols import BodiesNotAllowed, BudgetExceeded
from ttplan.workspace import Workspace

ROUTES = """
routes:
- {name: chat to mini, priority: 1, when: {tag_equals: chat}, then: {target_model: gpt-4o-mini}}
config: {l2_ttl_seconds: 3600, l2_threshold_sweep: [0.9, 0.99], l2_threshold: 0.9}
"""


def rows(count: int, **changes: Any) -> list[dict[str, Any]]:
    """Requests, every third of them chat, with embeddings; only those of 40 and 41 are similar."""
    made = []
    for n in range(count):
        row = {
            "id": str(UUID(int=n + 1)),
            "ts": f"2026-05-01T12:{n // 60:02}:{n % 60:02}Z",
            "provider": "openai",
            "model": "gpt-4o",
            "input_tokens": 100 + n * 50,
            "output_tokens": 300 if n == 41 else 20,
            "cost_usd": 0.01,
            "tag": "chat" if n % 3 == 0 else "code",
            "finish_reason": "stop",
            "body": f"question {n}",
            "response_body": f"answer {n}",
            "embedding": [1.0 if i == (40 if n == 41 else n) else 0.0 for i in range(90)],
        }
        made.append(row | changes)
    return made


def planned(tmp_path: Path, log: list[dict[str, Any]]) -> tuple[Workspace, UUID]:
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    (tmp_path / "routes.yaml").write_text(ROUTES)
    workspace = opened(tmp_path / "plans.duckdb")
    workspace.import_logs(tmp_path / "log.jsonl", with_bodies=True, with_embeddings=True)
    return workspace, workspace.plan(tmp_path / "routes.yaml", name="p").plan_id


class Judge:
    """Calls every fourth answer degraded, and remembers what it was shown."""

    name = "a judge"

    def __init__(self) -> None:
        self.seen: dict[UUID, tuple[str, str]] = {}

    def estimate_usd(self, rerouted: object) -> Decimal:
        return Decimal("0.001")

    async def judge(self, request: RequestLog, original: str, proposed: str) -> tuple[Verdict, str]:
        self.seen[request.id] = (original, proposed)
        return (Verdict.DEGRADED if request.id.int % 4 == 0 else Verdict.ACCEPTABLE), "since"


class Proposer:
    """Answers with the model's name."""

    name = "a proposer"

    def __init__(self) -> None:
        self.received: dict[UUID, str] = {}

    def estimate_usd(self, rerouted: object) -> Decimal:
        return Decimal("0.002")

    async def __call__(self, request: RequestLog, target_model: str) -> str:
        self.received[request.id] = target_model
        return f"from {target_model}"


def test_rerouted_requests_are_judged_and_the_result_stored(
    tmp_path: Path,
) -> None:
    workspace, plan_id = planned(tmp_path, rows(90))
    judge, proposer = Judge(), Proposer()
    checked = workspace.check_quality(
        plan_id, judge=judge, proposer=proposer, budget_usd=1, allow_bodies=True, sample_size=25
    )
    quality = checked.result.quality
    assert quality is not None
    # 40 hits nothing; 41 would be served 40's answer. Its route is none: it costs nothing to ask.
    assert (quality.population, quality.drawn, quality.sample_size) == (30, 25, 25)
    assert set(proposer.received.values()) == {"gpt-4o-mini"}
    assert len(proposer.received) == 25
    assert {i.int % 3 for i in proposer.received} == {1}
    assert all(
        judge.seen[i] == (f"answer {i.int - 1}", "from gpt-4o-mini") for i in proposer.received
    )
    assert judge.seen[UUID(int=42)] == ("answer 41", "answer 40")
    assert quality.forced is not None
    assert [score.request_id for score in quality.forced.examples] == [UUID(int=42)]
    assert quality.degraded_count == sum(i.int % 4 == 0 for i in proposer.received)
    assert {
        (score.route, score.source_model, score.target_model, score.tag)
        for score in quality.sampled_examples
    } == {("chat to mini", "gpt-4o", "gpt-4o-mini", "chat")}
    stored = workspace.show(plan_id)
    assert stored.result.quality == quality
    assert stored.result.aggregates == checked.result.aggregates
    assert "UNVERIFIED" not in repr(stored)
    assert "HIGH risk" in repr(stored)
    assert "uncorrected" in repr(stored)
    workspace.apply(plan_id)
    assert workspace.show(plan_id).result.quality == quality


def test_nothing_is_sent_without_permission_or_beyond_the_budget(tmp_path: Path) -> None:
    workspace, plan_id = planned(tmp_path, rows(90))
    judge, proposer = Judge(), Proposer()
    with pytest.raises(BodiesNotAllowed):
        workspace.check_quality(plan_id, judge=judge, proposer=proposer, budget_usd=1)
    with pytest.raises(BudgetExceeded):
        workspace.check_quality(
            plan_id, judge=judge, proposer=proposer, budget_usd=0.1, allow_bodies=True
        )
    with pytest.raises(InputError, match="the limits of a quality check"):
        workspace.check_quality(
            plan_id, judge=judge, proposer=proposer, budget_usd=-1, allow_bodies=True
        )
    assert (judge.seen, proposer.received) == ({}, {})
    assert workspace.show(plan_id).result.quality is None


def test_without_bodies_quality_is_unverified(tmp_path: Path) -> None:
    workspace, plan_id = planned(tmp_path, rows(90, body=None))
    checked = workspace.check_quality(
        plan_id, judge=Judge(), proposer=Proposer(), budget_usd=1, allow_bodies=True
    )
    assert "UNVERIFIED" in repr(checked)
    assert "import the log with bodies" in " ".join(checked.quality_text().split())


def test_the_command_queries_a_server_and_shows_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, plan_id = planned(tmp_path, rows(30))
    monkeypatch.setenv("SOME_KEY", "secret-key")
    usage = {"prompt_tokens": 10, "completion_tokens": 5}

    def reply(number: int, received: Any) -> Any:
        judging = received.payload["model"] == "gpt-4o"
        return (
            verdict_reply("degraded", "worse\x1b[31m")
            if judging
            else completion("an answer", usage=usage)
        )

    with serving(reply) as server:
        options = [
            "--base-url",
            server.base_url,
            "--judge",
            "gpt-4o",
            "--budget-usd",
            "1",
            "--api-key-env",
            "SOME_KEY",
        ]
        command = [
            "check-quality",
            str(plan_id)[:8],
            "--store",
            str(tmp_path / "plans.duckdb"),
            *options,
        ]
        assert run(command) == 2
        assert "--allow-bodies" in capsys.readouterr().err
        pairs = tmp_path / "pairs.csv"
        tried = ["--controls", "4", "--pairs", str(pairs)]
        assert run([*command, "--allow-bodies", *tried]) == 0
        assert run([*command, "--allow-bodies", "--pairs", str(pairs)]) == 2
        assert "exists already" in capsys.readouterr().err
        assert run([*command, "--allow-bodies"]) == 0
    output = capsys.readouterr()
    assert "HIGH risk: 100.0 % of 10 degraded" in output.out
    assert "worse [31m" in output.out
    assert "secret-key" not in output.out + output.err
    assert max(map(len, output.out.splitlines())) <= 80
    assert workspace.show(plan_id).result.quality is not None
    lines = pairs.read_text("utf-8-sig").splitlines()
    assert len(lines) == 11
    labels = ["request_id,label", *(f"{line.partition(',')[0]},degraded" for line in lines[1:4])]
    pairs.write_text("\n".join(labels))
    store = ["--store", str(tmp_path / "plans.duckdb"), "--json"]
    assert run(["set-labels", "p", str(pairs), *store]) == 0
    assert len(json.loads(capsys.readouterr().out)["labels"]) == 3
    asked = ["--judge", "gpt-4o", "--true-share", "0", "--true-share", "0.02"]
    assert run(["samples-needed", "p", *asked, *store]) == 0
    rows_ = json.loads(capsys.readouterr().out)["rows"]
    assert [row["answers"] for row in rows_] == [73, 311]
    assert all(row["cost_usd"] for row in rows_)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, UUID]:
    """A plan that reroutes 30 requests, for tests that check it again."""
    return planned(tmp_path_factory.mktemp("kept"), rows(90))


def test_controls_and_labels_are_kept_with_the_plan(kept: tuple[Workspace, UUID]) -> None:
    workspace, plan_id = kept
    pairs = AnswerPairs(size=12)
    checked = workspace.check_quality(
        plan_id,
        judge=Judge(),
        proposer=Proposer(),
        budget_usd=1,
        allow_bodies=True,
        controls=20,
        pairs=pairs,
    )
    quality = checked.result.quality
    assert quality is not None
    assert len(quality.controls) == 40
    assert len(pairs) == 12
    widget = workspace.label(plan_id, pairs)
    answers: tuple[Worse, ...] = ("a", "b", "same") * 4
    for worse in answers:
        widget.choose(worse)
    widget.save()
    labelled = workspace.show(plan_id).result.quality
    assert labelled is not None
    assert {label.request_id: label.verdict for label in labelled.labels} == {
        pair.request_id: pair.verdict_of(worse)
        for pair, worse in zip(pairs.pairs, answers, strict=True)
    }
    assert labelled.sampled_examples == quality.sampled_examples
    # No prompt, answer or label gets into the chain.
    workspace.apply(plan_id)
    for private in ("question", "from gpt-4o-mini", "degraded"):
        assert not any(private in str(body) for body in workspace.entries()["payload"])
    with pytest.raises(InputError, match="is not among the"):
        workspace.set_labels(plan_id, {str(UUID(int=2)): "a"})


def test_samples_are_priced_by_the_plan_and_the_log(kept: tuple[Workspace, UUID]) -> None:
    workspace, plan_id = kept
    card = workspace.samples_needed(plan_id, judge="gpt-4o", controls=100, specificity=1.0)
    needed = card.result
    assert (needed.available, needed.plan) == (30, "p")
    # Every third request goes to gpt-4o-mini (0.15 and 0.60 USD per million tokens): 100 + 50 n.
    tokens = sum(100 + 50 * n for n in range(0, 90, 3)) / 30
    assert needed.answer_usd is not None
    assert float(needed.answer_usd) == pytest.approx((tokens * 0.15 + 20 * 0.6) / 1e6, abs=1e-12)
    assert needed.judge_usd is not None
    assert float(needed.judge_usd) == pytest.approx(
        ((400 + tokens + 40) * 2.5 + 300 * 10) / 1e6, abs=1e-12
    )
    assert needed.control_usd == 100 * (2 * needed.judge_usd + Decimal("0.01"))
    first = needed.rows[0]
    assert first.answers is not None
    assert first.cost_usd == (
        first.answers * (needed.answer_usd + needed.judge_usd) + needed.control_usd
    )
    assert "Only 30 rerouted requests have a recorded prompt" in " ".join(repr(card).split())
    assert max(map(len, repr(card).splitlines())) <= 80
    for wrong in ({"max_degraded": 5}, {"power": 1}, {"true_shares": [2]}, {"controls": -1}):
        with pytest.raises(InputError):
            workspace.samples_needed(plan_id, **wrong)


def test_what_a_check_measured_is_used_for_the_next(kept: tuple[Workspace, UUID]) -> None:
    workspace, plan_id = kept
    workspace.check_quality(
        plan_id,
        judge=Judge(),
        proposer=Proposer(),
        budget_usd=1,
        allow_bodies=True,
        controls=20,
    )
    quality = workspace.show(plan_id).result.quality
    assert quality is not None
    assert quality.judge_accuracy is not None
    assert quality.judge_accuracy.specificity is not None
    needed = workspace.samples_needed(plan_id, max_degraded=0.3).result
    assert needed.specificity == quality.judge_accuracy.specificity.share
    assert needed.judge_usd is None
    assert all(row.cost_usd is None for row in needed.rows)
