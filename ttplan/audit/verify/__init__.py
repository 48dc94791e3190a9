"""Verification of audit chains: `verify_chain` raises, `verify_file` reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ttplan.audit import load_export

if TYPE_CHECKING:
    from ttplan.audit.verify.chain import verify_chain as verify_chain
    from ttplan.audit.verify.chain import verify_chain_with_anchor as verify_chain_with_anchor
    from ttplan.audit.verify.file import verify_file as verify_file
    from ttplan.audit.verify.options import VerifyOptions as VerifyOptions
    from ttplan.audit.verify.report import ChainReport as ChainReport
    from ttplan.audit.verify.require import require_verified as require_verified
    from ttplan.audit.verify.walker import Verification as Verification

_MODULES = {
    "ttplan.audit.verify.chain": ("verify_chain", "verify_chain_with_anchor"),
    "ttplan.audit.verify.file": ("verify_file",),
    "ttplan.audit.verify.options": ("VerifyOptions",),
    "ttplan.audit.verify.report": ("ChainReport",),
    "ttplan.audit.verify.require": ("require_verified",),
    "ttplan.audit.verify.walker": ("Verification",),
}

__all__ = sorted(name for names in _MODULES.values() for name in names)


def __getattr__(name: str) -> Any:
    return load_export(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return __all__
