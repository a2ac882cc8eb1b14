"""Random faults over repeated runs, unattended: each round starts the workflow, hits it, reruns it
and compares every hash.

    python tests/faults/chaos.py --rounds 200 --seed 1 --record docs/records/chaos.json

Most rounds make the data from nothing, one in eight trains, one in eight merges, proves and
exports; as many rounds as there are cores run side by side. The rerun does what the messages say
and nothing else: it waits for what still runs, removes Snakemake's lock where the message names
it, deletes a file where the message says so, asks by name for what is said to be missing, puts a
key back that is missed, makes anew what an audit calls changed, and touches what is dated in the
future, as slurm-h100/README.md says. A seed repeats the choices; where a fault lands also depends
on how fast the machine is.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chain import (
    Chain,
    group,
    template,
    trained,
    undisturbed,
    wait_for,
    write_json,
)
from chaos_faults import EDITED, FAULTS, KEY, KEYLESS, TARGETS
from chaos_repairs import make_changed_anew, repair

from bench.measuring import head  # isort: skip  chain says where these lie
from signed_export import keys  # isort: skip

# What a round's results are compared in
MADE = {
    "data": ("results/data/", "results/base/"),
    "training": ("results/data/", "results/base/", "results/runs/main/adapter/"),
    "export": ("results/data/", "results/base/", "results/runs/main/", "results/export"),
}
# What lies beside the data and is made after them
TOKENISED = "results/data/demo/cache"
SHARES = {"data": 6, "training": 1, "export": 1}
# The longest time until a fault strikes: about what a round takes
SECONDS = {"data": 6, "training": 6, "export": 20}
STEPS_SHARE = 3 / 4


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


def choose(rng: random.Random) -> tuple[str, str, str]:
    """A kind of round, a fault, and from when the seconds until it strikes are counted."""
    kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
    fault = rng.choice(sorted(FAULTS[kind]))
    return kind, fault, "steps" if kind == "training" and rng.random() < STEPS_SHARE else "start"


UNSIGNED = ("results/runs/main/export_model.json", "results/export.json")


def compare(made: Chain, kind: str) -> None:
    """Every result is as in a chain that was never disturbed."""
    found = made.hashes()
    expected = {
        name: value
        for name, value in undisturbed().hashes().items()
        if name.startswith(MADE[kind]) and not (kind == "data" and name.startswith(TOKENISED))
    }
    if (made.work / KEY).exists():
        # a signature is another one each time, and the records of what holds it with it
        assert "model.sig" in " ".join(found), "the export is not signed"
        expected = {name: value for name, value in expected.items() if name not in UNSIGNED}
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


def prepare(kind: str, fault: str, number: int) -> Chain:
    """The folder of a round, with everything that its kind does not make."""
    name = f"round-{number}"
    if kind == "data":
        return Chain(name)
    made = (template() if kind == "training" else trained()).copy(name)
    if fault == KEYLESS:
        private, _ = keys(made.work, Path(KEY).stem)
        made.configure(export={"signing_key": str(private)})
    return made


def play(number: int, rng: random.Random) -> Round:
    """One round from its start to the comparison."""
    kind, fault, moment = choose(rng)
    outcome = Round(number, kind, fault, moment, round(rng.uniform(1, SECONDS[kind]), 1))
    made, targets = prepare(kind, fault, number), TARGETS[kind]
    try:
        with group(made.start(*targets)) as controller:
            let_work(made, controller, outcome)
            outcome.hit = FAULTS[kind][fault](made, controller, rng)
            # an orphan of a killed Snakemake works on, as it would in life; everything else comes
            # to its own end
            end(made, controller, fault, outcome.needed)
            if fault == "kill -9 of Snakemake":
                wait_for(lambda: not made.processes(), 120, "an orphan does not end")
        if fault == EDITED:
            made.configure()
        repair(made, targets, outcome.needed)
        try:
            compare(made, kind)
        except AssertionError as different:
            # nothing read a file after it was changed, so only an audit can notice
            anew = make_changed_anew(made, outcome.needed)
            if not anew:
                raise different
            repair(made, [*targets, *anew], outcome.needed)
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
