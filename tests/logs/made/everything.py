"""All the files that are made, by name."""

from __future__ import annotations

from pathlib import Path

from tests.logs.made import billing_exports, helicone, langfuse, openrouter, otlp, tokentrimmer

FIXTURES = Path(__file__).parent.parent / "fixtures"
MAKERS = (langfuse, helicone, openrouter, otlp, tokentrimmer, billing_exports)


def files() -> dict[str, bytes]:
    """Every file's name and content."""
    return {name: content for maker in MAKERS for name, content in maker.files().items()}
