"""Billing exports are recognised and refused as logs, with advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.logs.generators.files import FIXTURES
from tests.logs.reading import read
from ttplan.model.errors import InputError

TITLES = {
    "openai-usage": "OpenAI usage by day",
    "openai-costs": "OpenAI costs by day",
    "anthropic-usage": "Anthropic usage by day",
    "anthropic-costs": "Anthropic costs by day",
    "openrouter-days": "OpenRouter activity by day",
}
NAMES = [
    f"{name}.{kind}"
    for name in TITLES
    for kind in ("json", "csv")
    if (FIXTURES / f"{name}.{kind}").exists()
]


@pytest.mark.parametrize("name", NAMES)
def test_daily_totals_are_refused_as_a_log_with_advice(name: str) -> None:
    title = TITLES[name.split(".")[0]]
    with pytest.raises(
        InputError, match=f"is {title}: sums of whole days, .* check_logs with totals"
    ):
        read(FIXTURES / name)


def test_openrouters_daily_csv_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "activity.csv"
    path.write_text("Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens\n2026-05-12,a/b,1,0,4,70\n")
    with pytest.raises(InputError, match="is OpenRouter activity by day: sums of whole days"):
        read(path)
