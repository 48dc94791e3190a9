"""The audit chain: entries, keys, signatures, proofs and verification. It needs no store.

An auditor needs only this package. It imports blake3, cryptography, orjson and PyNaCl.
The names below are imported when they are first used, so that worker processes start at once.

Examples
--------
>>> from ttplan.audit import TipAnchor
>>> TipAnchor.parse("41:" + "9f" * 32).seq
41
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttplan.audit.entries import next_entry as next_entry
    from ttplan.audit.entries import to_entry as to_entry
    from ttplan.audit.jsonl import read_chain as read_chain
    from ttplan.audit.jsonl import write_chain as write_chain
    from ttplan.audit.keys.key_files import SigningKey as SigningKey
    from ttplan.audit.keys.key_files import VerifyingKey as VerifyingKey
    from ttplan.audit.verify.chain import verify_chain as verify_chain
    from ttplan.audit.verify.chain import verify_chain_with_anchor as verify_chain_with_anchor
    from ttplan.audit.verify.file import verify_file as verify_file
    from ttplan.audit.verify.options import VerifyOptions as VerifyOptions
    from ttplan.audit.verify.report import ChainReport as ChainReport
    from ttplan.model.audit import AuditEntry as AuditEntry
    from ttplan.model.audit import TipAnchor as TipAnchor

_MODULES = {
    "ttplan.audit.entries": ("next_entry", "to_entry"),
    "ttplan.audit.jsonl": ("read_chain", "write_chain"),
    "ttplan.audit.keys.key_files": ("SigningKey", "VerifyingKey"),
    "ttplan.audit.verify.chain": ("verify_chain", "verify_chain_with_anchor"),
    "ttplan.audit.verify.file": ("verify_file",),
    "ttplan.audit.verify.options": ("VerifyOptions",),
    "ttplan.audit.verify.report": ("ChainReport",),
    "ttplan.model.audit": ("AuditEntry", "TipAnchor"),
}

__all__ = sorted(name for names in _MODULES.values() for name in names)


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
