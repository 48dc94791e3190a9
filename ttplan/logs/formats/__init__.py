"""The formats that are read: one module each, and the table of them.

A format is a `Format` named `FORMAT` in its module. Its mapping says all that can be declared; what cannot is a small function.
"""

from __future__ import annotations

from ttplan.logs.format import Format
from ttplan.logs.formats import own, tokentrimmer

FORMATS: dict[str, Format] = {module.FORMAT.name: module.FORMAT for module in (own, tokentrimmer)}
"""By name, in the order in which they are tried and listed."""
