"""Run scenarios with a fault in each, and print the outcomes.

python -m tests.faults.run [--store duckdb|postgres] [--runs 1000] [--seed 1] [--jobs 2]
    [--only KIND ...] [--stages STAGE ...] [--from NUMBER]
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

from tests.faults.environments import (
    Environment,
    FileEnvironment,
    ServerEnvironment,
    count_crash_points,
    database_in,
    in_child,
)
from tests.faults.faults import Fault, mount_small_disk
from tests.faults.harness import Outcome, Setting, run_one
from tests.faults.preload import load_everything
from tests.faults.scenario import STAGES
from tests.support.postgres import REQUIRED, has_programs


def main() -> None:
    options = _parse_options()
    if options.store == "postgres" and not has_programs():
        print("not run: PostgreSQL is not installed, or its initdb is not on the path")
        sys.exit(REQUIRED in os.environ)
    started = time.monotonic()
    load_everything()
    place = Path(tempfile.mkdtemp(prefix="ttplan-faults-"))
    place.chmod(0o711)  # also for a process without rights
    try:
        outcomes, notes, broke = _run(options, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    _print(options, outcomes, [*notes, *broke], time.monotonic() - started)
    sys.exit(bool(broke) or any(item.violations for item in outcomes))


STORES: dict[str, tuple[Fault, ...]] = {
    "duckdb": FileEnvironment.faults,
    "postgres": ServerEnvironment.faults,
}
"""The faults of each store."""


def _names() -> set[str]:
    return {fault.name for faults in STORES.values() for fault in faults}


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.run", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--store", choices=tuple(STORES), default="duckdb", help="the store of the scenarios"
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
        help="only scenarios that start at these stages",
    )
    parser.add_argument(
        "--from", type=int, default=0, dest="first", help="the number of the first run"
    )
    parser.add_argument("--show", action="store_true", help="print each run")
    return parser.parse_args()


def _run(options: argparse.Namespace, place: Path) -> tuple[list[Outcome], list[str], list[str]]:
    """Run the scenarios; return their outcomes, notes, and errors of the harness itself."""
    templates = place / "templates"
    if options.store == "duckdb":
        templates.mkdir()
        templates.chmod(0o755)
        point_counts = in_child(lambda: FileEnvironment(templates).make_templates(options.stages))
    else:
        point_counts = {}
    report_pipe, output_pipe = os.pipe()
    for job in range(options.jobs):
        _worker(options, place, point_counts, job, output_pipe)
    os.close(output_pipe)
    outcomes: list[Outcome] = []
    notes: set[str] = set()
    broke: list[str] = []
    with os.fdopen(report_pipe) as lines:
        for line in lines:
            message = json.loads(line)
            if "note" in message:
                notes.add(message["note"])
                continue
            if "broke" in message:
                broke.append(message["broke"])
                continue
            outcomes.append(Outcome(**message))
            if outcomes[-1].violations or options.show:
                print(line.rstrip(), flush=True)
    for _ in range(options.jobs):
        os.wait()
    return sorted(outcomes, key=lambda item: item.number), sorted(notes), broke


def _worker(
    options: argparse.Namespace,
    place: Path,
    point_counts: dict[str, int],
    job: int,
    output_pipe: int,
) -> None:
    """Start a process that runs every `jobs`-th scenario and sends the outcomes."""
    if os.fork():
        return
    own = place / f"job-{job}"
    (own / "small").mkdir(parents=True)
    for folder in (own, own / "small"):
        folder.chmod(0o755)
    try:
        if options.store == "duckdb":
            _run_all(
                options, FileEnvironment(place / "templates"), point_counts, own, job, output_pipe
            )
        else:
            _run_on_server(options, own, job, output_pipe)
    except BaseException:
        _send(output_pipe, {"broke": _short(traceback.format_exc())})
    os._exit(0)


def _run_on_server(options: argparse.Namespace, own: Path, job: int, output_pipe: int) -> None:
    server = database_in(own / "server")
    try:
        point_counts = in_child(
            lambda: count_crash_points(
                ServerEnvironment(server, alone=True), own / "scratch", options.stages
            )
        )
        _run_all(options, ServerEnvironment(server), point_counts, own, job, output_pipe)
    finally:
        server.stop()


def _run_all(
    options: argparse.Namespace,
    environment: Environment,
    point_counts: dict[str, int],
    own: Path,
    job: int,
    output_pipe: int,
) -> None:
    faults = [
        fault for fault in environment.faults if not options.only or fault.name in options.only
    ]
    why = mount_small_disk(own / "small") if any(fault.small_disk for fault in faults) else None
    if why is not None:
        faults = [fault for fault in faults if not fault.small_disk]
        _send(
            output_pipe,
            {"note": f"disk full: not run, since no small disk can be mounted ({why})"},
        )
    setting = Setting(
        options.seed, environment, point_counts, own, tuple(faults), tuple(options.stages)
    )
    for number in range(options.first + job, options.first + options.runs, options.jobs):
        outcome = run_one(setting, number)
        outcome.violations = [_short(item) for item in outcome.violations[:3]]
        outcome.errors = [_short(item) for item in outcome.errors[:3]]
        _send(output_pipe, asdict(outcome))
    for wrong in environment.checker.changed_since()[:3]:
        _send(output_pipe, {"broke": _short(f"after all scenarios: {wrong}")})
    environment.checker.end()


def _short(text: str) -> str:
    return text if len(text) <= 500 else f"{text[:120]} … {text[-370:]}"


def _send(output_pipe: int, message: dict[str, object]) -> None:
    # One write of less than 4,096 bytes, so that lines of several processes do not mix.
    os.write(output_pipe, json.dumps(message).encode()[:4000] + b"\n")


def _print(
    options: argparse.Namespace, outcomes: list[Outcome], notes: list[str], seconds: float
) -> None:
    bad = [item for item in outcomes if item.violations]
    print(
        f"{len(outcomes):,} runs with seed {options.seed}: {len(bad)} violations, "
        f"in {seconds:.0f} s"
    )
    print(f"{'fault':22}{'runs':>7}{'struck':>8}{'steps done':>12}{'errors':>8}{'violations':>12}")
    for name in [fault.name for fault in STORES[options.store]]:
        of = [item for item in outcomes if item.fault == name]
        if of:
            struck, done = sum(item.struck for item in of), sum(item.done for item in of)
            errors, violations = (
                sum(len(item.errors) for item in of),
                sum(bool(item.violations) for item in of),
            )
            print(f"{name:22}{len(of):>7,}{struck:>8,}{done:>12,}{errors:>8,}{violations:>12,}")
    output = Counter(error.partition(":")[0] for item in outcomes for error in item.errors)
    print(
        "errors: "
        + (", ".join(f"{name} {count}" for name, count in output.most_common()) or "none")
    )
    print(*notes, sep="\n")
    spent = os.times()
    print(f"CPU: {spent.user + spent.system + spent.children_user + spent.children_system:.0f} s")


if __name__ == "__main__":
    main()
