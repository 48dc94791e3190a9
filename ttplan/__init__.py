"""What-if plans for LLM traffic, applied in one transaction and provable afterwards.

`ttplan.open(path)` is the face that a notebook talks to; the names below are for those who write programs. They are imported
when they are first used, so that `ttplan.audit` and `ttplan.apply` do without pandas, DuckDB and the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttplan.engine.replay import replay as replay
    from ttplan.engine.replay import replay_table as replay_table

_HOMES = {
    "ttplan.engine.replay": ("replay", "replay_table"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ttplan' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
