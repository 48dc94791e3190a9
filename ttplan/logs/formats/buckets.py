"""Daily buckets of usage and costs: recognised, so that whoever takes one for a log is told what it is for."""

from __future__ import annotations

from ttplan.logs.billing.exports import FORMATS as BUCKETS
from ttplan.logs.billing.exports import NO_REPLAY, BillingFormat
from ttplan.logs.format import Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping

_ROWS = ("data[*].results[*]", "results[*]", "data[*]", "")


def _format(kind: BillingFormat) -> Format:
    return Format(
        title=kind.title,
        mapping=FormatMapping(name=kind.name, rows=_ROWS, fields={}),
        signature=Signature(required=tuple(sorted(kind.keys))),
        refusal=NO_REPLAY,
    )


FORMATS = tuple(_format(kind) for kind in BUCKETS)
