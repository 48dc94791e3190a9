"""All generated files, by name."""

from __future__ import annotations

from tests.logs.generators import (
    agents,
    billing_exports,
    helicone,
    langfuse,
    openrouter,
    otlp,
    providers,
    tokentrimmer,
    traces,
)
from tests.paths import ROOT

FIXTURES = ROOT / "tests" / "logs" / "fixtures"


def files() -> dict[str, bytes]:
    """The content of every file."""
    first = (langfuse, helicone, openrouter, otlp, tokentrimmer, billing_exports)
    generators = (*first, agents, providers, traces)
    return {name: data for generator in generators for name, data in generator.files().items()}
