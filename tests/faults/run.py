"""Run lives with a fault in each, and print what came of them.

python -m tests.faults.run [--store duckdb|postgres] [--runs 1000] [--seed 1] [--jobs 2] [--only KIND ...] [--stages STAGE ...]
    [--from NUMBER]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tests.faults.grounds import Database, Files, Ground, count_moments, database_in, in_child
from tests.faults.harness import Outcome, Setting, run_one
from tests.faults.kinds import Kind, room_for
from tests.faults.life import STAGES
from tests.faults.warm import load_everything
from tests.support.postgres import REQUIRED, has_programs


def main() -> None:
    asked = _asked()
    if asked.store == "postgres" and not has_programs():
        print("not run: there is no PostgreSQL here, or its initdb is not on the path")
        sys.exit(REQUIRED in os.environ)
    started = time.monotonic()
    load_everything()
    place = Path(tempfile.mkdtemp(prefix="ttplan-faults-"))
    place.chmod(0o711)  # for a process without rights, too
    try:
        outcomes, notes, broke = _run(asked, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    _print(asked, outcomes, [*notes, *broke], time.monotonic() - started)
    sys.exit(bool(broke) or any(one.violations for one in outcomes))


STORES: dict[str, tuple[Kind, ...]] = {"duckdb": Files.kinds, "postgres": Database.kinds}
"""The stores that there are lives of, and what can go wrong there."""


def _names() -> set[str]:
    return {kind.name for kinds in STORES.values() for kind in kinds}


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.run", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--store", choices=tuple(STORES), default="duckdb", help="where the lives are lived"
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument(
        "--only", nargs="+", choices=sorted(_names()), metavar="KIND", help="only these faults"
    )
    parser.add_argument(
        "--stages",
        nargs="+",
        choices=STAGES,
        default=STAGES,
        help="only lives of stores at these stages",
    )
    parser.add_argument(
        "--from", type=int, default=0, dest="first", help="the number of the first run"
    )
    parser.add_argument("--show", action="store_true", help="print each run")
    return parser.parse_args()


def _run(asked: argparse.Namespace, place: Path) -> tuple[list[Outcome], list[str], list[str]]:
    """What came of the runs, what is to be known of them, and what broke besides."""
    templates = place / "templates"
    if asked.store == "duckdb":
        templates.mkdir()
        templates.chmod(0o755)
        moments = in_child(lambda: Files(templates).make_templates(asked.stages))
    else:
        moments = {}
    hearing, telling = os.pipe()
    for job in range(asked.jobs):
        _worker(asked, place, moments, job, telling)
    os.close(telling)
    outcomes: list[Outcome] = []
    notes: set[str] = set()
    broke: list[str] = []
    with os.fdopen(hearing) as lines:
        for line in lines:
            said = json.loads(line)
            if "note" in said:
                notes.add(said["note"])
                continue
            if "broke" in said:
                broke.append(said["broke"])
                continue
            outcomes.append(Outcome(**said))
            if outcomes[-1].violations or asked.show:
                print(line.rstrip(), flush=True)
    for _ in range(asked.jobs):
        os.wait()
    return sorted(outcomes, key=lambda one: one.number), sorted(notes), broke


def _worker(
    asked: argparse.Namespace, place: Path, moments: dict[str, int], job: int, telling: int
) -> None:
    """Start a process that does each run whose number is its own, and tells the outcomes."""
    if os.fork():
        return
    own = place / f"job-{job}"
    (own / "small").mkdir(parents=True)
    for folder in (own, own / "small"):
        folder.chmod(0o755)
    try:
        if asked.store == "duckdb":
            _live_all(asked, Files(place / "templates"), moments, own, job, telling)
        else:
            _live_on_server(asked, own, job, telling)
    except BaseException:
        _tell(telling, {"broke": _short(traceback.format_exc())})
    os._exit(0)


def _live_on_server(asked: argparse.Namespace, own: Path, job: int, telling: int) -> None:
    server = database_in(own / "server")
    try:
        moments = in_child(
            lambda: count_moments(Database(server, alone=True), own / "scratch", asked.stages)
        )
        _live_all(asked, Database(server), moments, own, job, telling)
    finally:
        server.stop()


def _live_all(
    asked: argparse.Namespace,
    ground: Ground,
    moments: dict[str, int],
    own: Path,
    job: int,
    telling: int,
) -> None:
    kinds = [kind for kind in ground.kinds if not asked.only or kind.name in asked.only]
    why = room_for(own / "small") if any(kind.small_disk for kind in kinds) else None
    if why is not None:
        kinds = [kind for kind in kinds if not kind.small_disk]
        _tell(
            telling,
            {"note": f"disk full: not run, since no small disk can be mounted here ({why})"},
        )
    setting = Setting(asked.seed, ground, moments, own, tuple(kinds), tuple(asked.stages))
    for number in range(asked.first + job, asked.first + asked.runs, asked.jobs):
        outcome = run_one(setting, number)
        outcome.violations = [_short(one) for one in outcome.violations[:3]]
        outcome.errors = [_short(one) for one in outcome.errors[:3]]
        _tell(telling, asdict(outcome))
    for wrong in ground.checker.changed_since()[:3]:
        _tell(telling, {"broke": _short(f"after all lives: {wrong}")})
    ground.checker.end()


def _short(text: str) -> str:
    return text if len(text) <= 500 else f"{text[:120]} … {text[-370:]}"


def _tell(telling: int, said: dict[str, object]) -> None:
    # One write of less than 4,096 bytes, so that lines of several processes do not mix.
    os.write(telling, json.dumps(said).encode()[:4000] + b"\n")


def _print(
    asked: argparse.Namespace, outcomes: list[Outcome], notes: list[str], seconds: float
) -> None:
    bad = [one for one in outcomes if one.violations]
    print(
        f"{len(outcomes):,} runs with seed {asked.seed}: {len(bad)} violations, in {seconds:.0f} s"
    )
    print(f"{'fault':22}{'runs':>7}{'struck':>8}{'steps done':>12}{'errors':>8}{'violations':>12}")
    for name in [kind.name for kind in STORES[asked.store]]:
        of = [one for one in outcomes if one.kind == name]
        if of:
            struck, done = sum(one.struck for one in of), sum(one.done for one in of)
            errors, violations = (
                sum(len(one.errors) for one in of),
                sum(bool(one.violations) for one in of),
            )
            print(f"{name:22}{len(of):>7,}{struck:>8,}{done:>12,}{errors:>8,}{violations:>12,}")
    told = Counter(error.partition(":")[0] for one in outcomes for error in one.errors)
    print(
        "errors told: "
        + (", ".join(f"{name} {count}" for name, count in told.most_common()) or "none")
    )
    print(*notes, sep="\n")
    spent = os.times()
    print(f"CPU: {spent.user + spent.system + spent.children_user + spent.children_system:.0f} s")


if __name__ == "__main__":
    main()
