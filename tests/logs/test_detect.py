"""Each format is found from its own shape, and claims no other format's files."""

from __future__ import annotations

import pytest

from tests.logs.generators.files import FIXTURES
from ttplan.logs.detect import best_rows
from ttplan.logs.formats import FORMATS
from ttplan.logs.source import Source

OWNERS = {
    "anthropic-batch.jsonl.gz": "anthropic_batch",
    "bedrock-cloudwatch.json.gz": "bedrock",
    "bedrock-s3.json.gz": "bedrock",
    "claude-code-events.jsonl.gz": "claude_code_events",
    "claude-code-session.jsonl.gz": "claude_code",
    "cloudflare-logs.json.gz": "cloudflare",
    "codex-rollout.jsonl.gz": "codex",
    "cursor-usage.csv": "cursor",
    "datadog-spans.json.gz": "datadog",
    "helicone.csv": "helicone",
    "helicone.jsonl": "helicone",
    "langfuse-blob-enriched.jsonl.gz": "langfuse",
    "langfuse-blob-legacy.jsonl": "langfuse",
    "langfuse-generations.csv.gz": "langfuse_generations",
    "langfuse-ui-v2.json": "langfuse",
    "langfuse-ui.csv": "langfuse",
    "langfuse-ui.json": "langfuse",
    "langsmith-runs.jsonl.gz": "langsmith",
    "litellm_payloads.jsonl.gz": "litellm_payload",
    "litellm_spend_logs.csv": "litellm",
    "mlflow-traces.jsonl.gz": "mlflow",
    "openai-batch.jsonl.gz": "openai_batch",
    "opencode-session.json.gz": "opencode",
    "openrouter-activity.csv": "openrouter",
    "otlp-collector.jsonl": "otlp",
    "otlp.json.gz": "otlp",
    "phoenix-spans.csv.gz": "openinference",
    "phoenix-traces.json.gz": "openinference",
    "portkey-logs.jsonl.gz": "portkey",
    "tokentrimmer.csv": "tokentrimmer",
    "vertex-logs.jsonl.gz": "vertex",
}


@pytest.mark.parametrize("name", OWNERS)
def test_one_format_claims_a_file(name: str) -> None:
    with Source(FIXTURES / name) as source:
        claims = {f.name for f in FORMATS.values() if best_rows(source.sample, f)[0]}
        # TokenTrimmer's columns are ttplan's own and more.
        expected = {OWNERS[name]} | ({"own"} if OWNERS[name] == "tokentrimmer" else set())
        assert claims == expected
        assert source.detect().format.name == OWNERS[name]


def test_every_format_of_logs_has_a_fixture() -> None:
    read = {name for name, log_format in FORMATS.items() if log_format.refusal is None}
    assert read - set(OWNERS.values()) == {"own"}
