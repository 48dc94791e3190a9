"""Loads all modules before a fork: a child imports none, even if it may not read files."""

from __future__ import annotations

import gc
import importlib
import pkgutil

import ttplan
from ttplan.store.schema import migrations


def load_everything() -> None:
    """Import all of ttplan, and what it imports lazily."""
    for module in pkgutil.walk_packages(ttplan.__path__, "ttplan."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("ibis.backends.duckdb")
    migrations()
    # A child would look at all of this again, and so copy its pages.
    gc.set_threshold(100_000, 20, 20)
    gc.freeze()
