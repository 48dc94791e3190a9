"""All generated files, by name."""

from __future__ import annotations

from tests.logs.generators import (
    billing_exports,
    helicone,
    langfuse,
    openrouter,
    otlp,
    tokentrimmer,
)
from tests.paths import ROOT

FIXTURES = ROOT / "tests" / "logs" / "fixtures"


def files() -> dict[str, bytes]:
    """The content of every file."""
    generators = (langfuse, helicone, openrouter, otlp, tokentrimmer, billing_exports)
    return {name: data for generator in generators for name, data in generator.files().items()}
