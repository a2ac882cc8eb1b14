"""Random faults over repeated runs, unattended: each round starts the workflow, hits it, reruns it
and compares every hash.

    python tests/faults/chaos.py --rounds 200 --seed 1 --record docs/records/chaos.json

Most rounds make the data from nothing, one in eight trains; as many rounds as there are cores run
side by side. The rerun does what the messages say and nothing else: it waits for what still runs,
removes Snakemake's lock where the message names it, deletes a file where the message says so, and
touches what is dated in the future, as slurm-h100/README.md says. A seed repeats the choices;
where a fault lands also depends on how fast the machine is.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measuring import head
from chain import TRAINED, Chain, group, template, undisturbed, wait_for, write_json
from mindtune.records import remove

DATA = ["results/data/demo/split_dialogues.json", "results/base/fetch_model.json"]
TRAINING_SHARE = 1 / 8
STEPS_SHARE = 3 / 4
TRIES = 5
DAY_S = 86400


@dataclass
class Round:
    """One round: what was run, what hit it, and what the rerun needed."""

    number: int
    kind: str
    fault: str
    moment: str
    after_s: float
    hit: str = ""
    needed: list[str] = field(default_factory=list)
    identical: bool = False
    problem: str = ""


def pick(made: Chain, rng: random.Random, pattern: str) -> Path | None:
    """A random file of the results or the state."""
    found = [
        path
        for name in ("results", "state")
        for path in sorted((made.work / name).rglob(pattern))
        if path.is_file()
    ]
    return rng.choice(found) if found else None


def kill_everything(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """As when the machine goes down."""
    found = made.processes()
    for line in [str(controller.pid), *found]:
        with suppress(ProcessLookupError):
            os.kill(int(line.split()[0]), signal.SIGKILL)
    return "all processes" if found else ""


def signal_controller(
    number: signal.Signals,
) -> Callable[[Chain, subprocess.Popen, random.Random], str]:
    """A fault that sends a signal to Snakemake alone."""

    def strike(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
        if controller.poll() is not None:
            return ""
        controller.send_signal(number)
        return "Snakemake"

    return strike


def kill_job(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """kill -9 for one process of a job, as the system does when memory runs out."""
    found = [line for line in made.processes() if int(line.split()[0]) != controller.pid]
    if not found:
        return ""
    line = rng.choice(found)
    with suppress(ProcessLookupError):
        os.kill(int(line.split()[0]), signal.SIGKILL)
    return " ".join(Path(word).name for word in line.split()[1:4])


def start_again(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """A second person starts the same run."""
    done = made.run(*DATA)
    return "refused" if done.returncode else "nothing left to do"


def jump_clock(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """Everything that is there already was written a day ago, or a day ahead."""
    days = rng.choice((-1, 1))
    for path in (made.work / "results").rglob("*"):
        with suppress(OSError):
            if path.is_file() and path.stat().st_nlink > 1:
                continue  # a hard link to the model that all rounds share
            os.utime(path, (time.time() + days * DAY_S,) * 2)
    return f"{days} day"


def tear_record(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The machine goes down, and a JSON file is left half-written."""
    kill_everything(made, controller, rng)
    path = pick(made, rng, "*.json")
    if not path or "tokenizer" in path.parts or "model" in path.parts:
        return ""
    os.truncate(path, path.stat().st_size // 2)
    return str(path.relative_to(made.work))


def leave_partials(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The machine goes down, and half-written files and folders are left beside where the outputs
    go.
    """
    kill_everything(made, controller, rng)
    for name in (
        "results/data/demo/clean.jsonl",
        "results/data/demo/raw",
        "results/base/model",
        "results/runs/main/adapter",
    ):
        partial = made.work / f"{name}.partial"
        partial.parent.mkdir(parents=True, exist_ok=True)
        remove(partial)  # the job that was killed may have left its own
        if rng.random() < 0.5:
            partial.mkdir()
            partial = partial / "半"
        partial.write_text("半", encoding="utf-8")
    return "partial files"


def tear_checkpoint(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The machine goes down while a checkpoint is written."""
    kill_everything(made, controller, rng)
    newest = max(
        (made.work / "state").rglob("checkpoint-*/*"),
        key=lambda path: path.stat().st_mtime_ns,
        default=None,
    )
    if newest is None:
        return ""
    os.truncate(newest, newest.stat().st_size // 2)
    return newest.name


ALWAYS = {
    "machine down": kill_everything,
    "kill -9 of Snakemake": signal_controller(signal.SIGKILL),
    "SIGTERM": signal_controller(signal.SIGTERM),
    "Ctrl-C": signal_controller(signal.SIGINT),
    "kill -9 of a job": kill_job,
    "torn record": tear_record,
    "partial files left": leave_partials,
    "second start": start_again,
    "clock jump": jump_clock,
}
FAULTS = {"data": ALWAYS, "training": ALWAYS | {"torn checkpoint": tear_checkpoint}}


def repair(made: Chain, targets: list[str], needed: list[str]) -> None:
    """Rerun to the end, doing what the messages say; what was done is added to `needed`."""
    for _ in range(TRIES):
        done = made.run(*targets)
        if done.returncode == 0:
            return
        named = re.search(
            r"^(?:error: )?(\S+)(?: line \d+)? is not (?:whole )?JSON .*delete (?:it|the file) and "
            r"run again",
            done.stdout,
            re.MULTILINE,
        )
        if "LockException" in done.stdout and "--unlock" in done.stdout:
            needed.append("unlock")
            wait_for(lambda: not made.processes(), 120, "an orphan does not end")
            assert made.run("--unlock", *targets).returncode == 0
        elif "clock skew" in done.stdout:
            needed.append("touch what is dated in the future")
            find = ["find", made.work / "results", "-newermt", "now", "-exec", "touch", "{}", "+"]
            subprocess.run(find, check=True)
        elif named:
            needed.append(f"delete {named[1]}")
            (made.work / named[1]).unlink()
            targets = [
                *targets,
                named[1],
            ]  # what was made from it stands, so nothing else asks for it
        else:
            raise AssertionError(done.stdout[-3000:])
    raise AssertionError(f"{TRIES} reruns were not enough: {needed}")


def compare(made: Chain, kind: str) -> None:
    """Every result is as in a chain that was never disturbed."""
    found = made.hashes()
    own = (
        ("results/data/", "results/base/")
        if kind == "data"
        else ("results/data/", "results/base/", "results/runs/main/adapter/")
    )
    expected = {
        name: value for name, value in undisturbed().hashes().items() if name.startswith(own)
    }
    different = sorted(name for name in expected if found.get(name) != expected[name])
    assert not different, f"different: {different}"
    wait_for(lambda: not made.processes(), 30, lambda: f"left: {made.processes()}")
    locks = list((made.work / ".snakemake/locks").glob("*"))
    assert not locks, f"locks are left: {locks}"


def end(made: Chain, controller: subprocess.Popen, fault: str, needed: list[str]) -> None:
    """Wait for Snakemake to end. After a SIGTERM it may not: its handler waits for a lock that the
    main thread may hold (9.27.1).
    """
    try:
        controller.wait(timeout=120 if fault == "SIGTERM" else 600)
    except subprocess.TimeoutExpired:
        others = [line for line in made.processes() if int(line.split()[0]) != controller.pid]
        if fault != "SIGTERM" or others:
            raise
        needed.append("kill")
        controller.kill()
        controller.wait()


def let_work(made: Chain, controller: subprocess.Popen, outcome: Round) -> None:
    """Let Snakemake work for the round's seconds, which in most trainings count from the first
    step.
    """

    def begun() -> bool:
        return controller.poll() is not None or bool(
            list(made.work.glob("state/train/main/*/steps.jsonl"))
        )

    if outcome.moment == "steps":
        wait_for(begun, 300, "no step was taken")
    with suppress(subprocess.TimeoutExpired):
        controller.wait(timeout=outcome.after_s)


def play(number: int, rng: random.Random) -> Round:
    """One round from its start to the comparison."""
    kind = "training" if rng.random() < TRAINING_SHARE else "data"
    fault = rng.choice(sorted(FAULTS[kind]))
    made = Chain(f"round-{number}") if kind == "data" else template().copy(f"round-{number}")
    targets = DATA if kind == "data" else [TRAINED]
    moment = "steps" if kind == "training" and rng.random() < STEPS_SHARE else "start"
    outcome = Round(number, kind, fault, moment, round(rng.uniform(1, 6), 1))
    try:
        with group(made.start(*targets)) as controller:
            let_work(made, controller, outcome)
            outcome.hit = FAULTS[kind][fault](made, controller, rng)
            # an orphan of a killed Snakemake works on, as it would in life; everything else comes
            # to its own end
            end(made, controller, fault, outcome.needed)
            if fault == "kill -9 of Snakemake":
                wait_for(lambda: not made.processes(), 120, "an orphan does not end")
        repair(made, targets, outcome.needed)
        compare(made, kind)
        outcome.identical = True
        shutil.rmtree(made.work)
    except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
        outcome.problem = str(error)[-2000:]
    return outcome


def record(rounds: list[Round], seed: int, seconds: float, target: int) -> dict[str, Any]:
    """What docs/records/chaos.json says: a line for each fault, and every single round."""
    faults = sorted({(outcome.kind, outcome.fault) for outcome in rounds})
    groups = {
        pair: [outcome for outcome in rounds if (outcome.kind, outcome.fault) == pair]
        for pair in faults
    }
    identical = sum(outcome.identical for outcome in rounds)
    return {
        **head(
            "random faults survived with the hashes of an undisturbed run",
            f"make chaos N={len(rounds)} SEED={seed}",
            ["snakemake"],
        ),
        "columns": ["fault", "while making", "rounds", "landed", "identical", "needed"],
        "runs": [
            {
                "fault": fault,
                "while making": kind,
                "rounds": len(hit),
                "landed": sum(bool(outcome.hit) for outcome in hit),
                "identical": sum(outcome.identical for outcome in hit),
                "needed": dict(
                    Counter(step.split()[0] for outcome in hit for step in outcome.needed)
                ),
            }
            for (kind, fault), hit in groups.items()
        ],
        "rounds": [vars(outcome) for outcome in rounds],
        "median": identical,
        "target": target,
        "met": identical == len(rounds) >= target,
        "note": f"{identical} of {len(rounds)} rounds identical, in {seconds:.0f} s",
    }


def report(outcome: Round) -> None:
    """Print what became of a round."""
    became = "identical" if outcome.identical else f"FAILED: {outcome.problem}"
    print(
        f"round {outcome.number}: {outcome.kind}, {outcome.fault} {outcome.after_s} s after "
        f"{outcome.moment}: {became}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    undisturbed()
    start, rounds = time.monotonic(), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # a generator for each round: one that takes other branches does not change those after it
        playing = [
            pool.submit(play, number, random.Random(f"{args.seed}/{number}"))
            for number in range(args.rounds)
        ]
        for future in playing:
            rounds.append(future.result())
            report(rounds[-1])
            write_json(args.record, record(rounds, args.seed, time.monotonic() - start, 200))
    return 0 if all(outcome.identical for outcome in rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
