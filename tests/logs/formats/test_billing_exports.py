"""Files of daily buckets are no logs: whoever takes one for a log is told what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.logs.made.everything import FIXTURES
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
def test_days_cannot_be_replayed_and_the_refusal_says_what_they_are_for(name: str) -> None:
    title = TITLES[name.split(".")[0]]
    with pytest.raises(
        InputError, match=f"is {title}: sums of whole days, .* check_logs with totals"
    ):
        read(FIXTURES / name)


def test_an_export_of_openrouter_s_days_as_csv_is_known(tmp_path: Path) -> None:
    path = tmp_path / "activity.csv"
    path.write_text("Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens\n2026-05-12,a/b,1,0,4,70\n")
    with pytest.raises(InputError, match="is OpenRouter activity by day: sums of whole days"):
        read(path)
