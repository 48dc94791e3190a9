"""How much the long tests try."""

from __future__ import annotations

import os

SCALE = int(os.environ.get("TTPLAN_TEST_SCALE", "1"))
"""Random plans, fault scenarios and windows of simulated worlds are this many times as many as
`make test-all` tries: `TTPLAN_TEST_SCALE=5 make test-rest`. The nightly run does it."""
