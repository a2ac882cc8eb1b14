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
from chain import (
    ROOT,
    TARGET,
    TRAINED,
    Chain,
    group,
    template,
    trained,
    undisturbed,
    wait_for,
    write_json,
)
from mindtune.records import remove
from signed_export import keys

TARGETS = {
    "data": ["results/data/demo/split_dialogues.json", "results/base/fetch_model.json"],
    "training": [TRAINED],
    "export": [TARGET],
}
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
ADAPTER = "results/runs/main/adapter"
KEY = "key.pem"
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
    done = made.run(*TARGETS["data"])
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


def edit_configuration(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """Somebody prepares the next experiment in the files of the one that runs."""
    if controller.poll() is not None:
        return ""
    made.configure(
        train={"learning_rate": rng.choice((5e-3, 7e-5))},
        data={"clean": {"min_turns": 4}, "split": {"seed": 5}},
        export={"max_shard_size": "300KB"},
    )
    return "learning rate, cleaning, split and shards"


def delete_record(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The machine goes down, and somebody tidies a stage's record away."""
    kill_everything(made, controller, rng)
    path = pick(made, rng, "*_*.json")
    if not path or not path.is_relative_to(made.work / "results") or "model" in path.parts:
        return ""
    path.unlink()
    return str(path.relative_to(made.work))


def flip_adapter(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The machine goes down, and a bit of the adapter is another one afterwards."""
    kill_everything(made, controller, rng)
    path = made.work / ADAPTER / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content) // 2, len(content))
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"byte {place}"


def lose_key(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The signer's key is taken away while the export is made."""
    (made.work / KEY).rename(made.work / "elsewhere.pem")
    return KEY


EDITED = "configuration edited"
FLIPPED = "adapter bit flipped"
KEYLESS = "key file missing"

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
    EDITED: edit_configuration,
    "record deleted": delete_record,
}
FAULTS = {
    "data": ALWAYS,
    "training": ALWAYS | {"torn checkpoint": tear_checkpoint},
    "export": ALWAYS | {FLIPPED: flip_adapter, KEYLESS: lose_key},
}


def choose(rng: random.Random) -> tuple[str, str, str]:
    """A kind of round, a fault, and from when the seconds until it strikes are counted."""
    kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
    fault = rng.choice(sorted(FAULTS[kind]))
    return kind, fault, "steps" if kind == "training" and rng.random() < STEPS_SHARE else "start"


NOT_JSON = (
    r"^(?:error: )?(\S+)(?: line \d+)? is not (?:whole )?JSON .*delete (?:it|the file) and "
    r"run again"
)
GONE = r"^(\S+) is missing, and \S+ speaks of it; to make it again, ask for it by name"
NO_KEY = rf"config key export\.signing_key is .*{KEY}.* is not there"
OTHER_BYTES = rf"{ADAPTER} has SHA-256 "


def repair(made: Chain, targets: list[str], needed: list[str]) -> None:
    """Rerun to the end, doing what the messages say; what was done is added to `needed`."""
    for _ in range(TRIES):
        done = made.run(*targets)
        # what was made from a file that is gone stands, so nothing else asks for it
        gone = [path for path in re.findall(GONE, done.stdout, re.MULTILINE) if path not in targets]
        if gone:
            needed.append(f"ask for {' '.join(gone)}")
            targets = [*targets, *gone]
        elif done.returncode == 0:
            return
        else:
            targets = [*targets, *do_as_told(made, targets, done.stdout, needed)]
    raise AssertionError(f"{TRIES} reruns were not enough: {needed}")


def do_as_told(made: Chain, targets: list[str], said: str, needed: list[str]) -> list[str]:
    """Do what the messages of a failed start say, and return what to ask for beside the targets."""
    torn = re.search(NOT_JSON, said, re.MULTILINE)
    if "LockException" in said and "--unlock" in said:
        needed.append("unlock")
        wait_for(lambda: not made.processes(), 120, "an orphan does not end")
        assert made.run("--unlock", *targets).returncode == 0
    elif "clock skew" in said:
        needed.append("touch what is dated in the future")
        find = ["find", made.work / "results", "-newermt", "now", "-exec", "touch", "{}", "+"]
        subprocess.run(find, check=True)
    elif re.search(NO_KEY, said):
        needed.append("restore the key")
        (made.work / "elsewhere.pem").rename(made.work / KEY)
    elif re.search(OTHER_BYTES, said):
        return make_adapter_anew(made, needed)
    elif torn:
        needed.append(f"delete {torn[1]}")
        (made.work / torn[1]).unlink()
        return [torn[1]]
    else:
        raise AssertionError(said[-3000:])
    return []


def make_adapter_anew(made: Chain, needed: list[str]) -> list[str]:
    """Delete the adapter and its record, as docs/audit.md says, and return what to ask for."""
    needed.append(f"remake {ADAPTER}")
    remove(made.work / ADAPTER)
    remove(made.work / TRAINED)
    return [TRAINED]


def audit(made: Chain) -> str:
    """What `make audit` says of the folder."""
    program = [sys.executable, str(ROOT / "scripts/tools/audit.py"), "--workdir", str(made.work)]
    return subprocess.run(program, capture_output=True, text=True).stdout


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
        if fault == FLIPPED and not any("remake" in step for step in outcome.needed):
            # nothing read the adapter after the flip, so only an audit can notice
            assert f"changed      {ADAPTER}" in audit(made), "the audit does not notice"
            repair(made, [*targets, *make_adapter_anew(made, outcome.needed)], outcome.needed)
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
