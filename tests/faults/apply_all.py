"""A child process that applies each projected plan, and prints each acknowledged one.

python -m tests.faults.apply_all STORE KEY_SEED_HEX [PLAN_NUMBER ...]
"""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import UUID

from tests.support import plans
from ttplan.apply import StoreChain, apply_plan
from ttplan.audit.keys.key_files import key_from_hex
from ttplan.model.audit import System
from ttplan.model.errors import InvalidState
from ttplan.store.duckdb.store import DuckDBStore


def main() -> None:
    store = DuckDBStore(Path(sys.argv[1]), create=False)
    chain = StoreChain(store, key_from_hex(sys.argv[2]))
    selected = {UUID(int=int(number)) for number in sys.argv[3:]}
    with store.read() as snapshot:
        runs = [
            run
            for run in snapshot.plans(plans.ORG)
            if run.plan_id in selected or (not selected and run.status == "projected")
        ]
    print("ready", flush=True)
    for run in runs:
        try:
            apply_plan(store, chain, run.result, System())
            print(f"applied {run.plan_id.int}", flush=True)
        except InvalidState as error:
            print(f"refused {run.plan_id.int} {error.state}", flush=True)


if __name__ == "__main__":
    main()
