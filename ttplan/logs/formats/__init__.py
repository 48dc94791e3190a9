"""The formats that are read: one module each, and the table of them.

A format is a `Format` named `FORMAT` in its module. Its mapping says all that can be declared; what cannot is a small function.
`buckets` has several, of files that are known and refused.
"""

from __future__ import annotations

from ttplan.logs.format import Format
from ttplan.logs.formats import (
    buckets,
    helicone,
    langfuse,
    litellm,
    litellm_payload,
    openrouter,
    otlp,
    request_columns,
    tokentrimmer,
)

_MODULES = (
    request_columns,
    tokentrimmer,
    litellm,
    litellm_payload,
    langfuse,
    helicone,
    openrouter,
    otlp,
)
FORMATS: dict[str, Format] = {
    one.name: one for one in (*(module.FORMAT for module in _MODULES), *buckets.FORMATS)
}
"""By name, in the order in which they are tried and listed."""
