"""What the tests do to SLURM jobs and to the trainers in them."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chain import ROOT, Chain, wait_for

PROFILE = str(ROOT / "slurm-h100")
# The demo trains on a CPU; here its trainer asks for the GPU that the real configuration asks for
ON_GPU = [
    "--set-resources",
    "train_lora:gpu=1",
    "train_lora:gpu_model=h100",
    "train_lora:runtime=240*attempt",
]
# A test does not wait for slow shared file systems, and looks at its jobs more often
QUICK = ["--latency-wait", "10", "--slurm-init-seconds-before-status-checks", "2"]


@dataclass(frozen=True)
class Job:
    """One line of squeue."""

    id: str
    state: str
    comment: str
    work: str
    limit: str
    partition: str
    reason: str


def slurm(*words: str) -> str:
    """Output of a SLURM command that has to succeed."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


def jobs(chain: Chain, run: str = "", rule: str = "train_lora") -> list[Job]:
    """Jobs of a chain, the newest last; ended ones stay in the list for ten minutes."""
    lines = slurm("squeue", "-h", "-t", "all", "-o", "%i|%T|%k|%Z|%l|%P|%r").splitlines()
    found = [Job(*line.split("|")) for line in lines]
    wanted = f"rule_{rule}_wildcards_{run}" if run else f"rule_{rule}"
    return sorted(
        (job for job in found if job.work == str(chain.work) and job.comment.startswith(wanted)),
        key=lambda job: int(job.id),
    )


def detail(job: str, key: str) -> str:
    """One field of `scontrol show job`."""
    words = slurm("scontrol", "show", "job", job).split()
    return next((word.partition("=")[2] for word in words if word.startswith(f"{key}=")), "")


def trainers(chain: Chain, run: str) -> list[int]:
    """Processes of ms-swift that train a run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            if "swift.cli.sft" in words and f"{chain.work}/state/train/{run}/" in words:
                found.append(int(process.name))
    return found


def freeze(chain: Chain, run: str = "main", after: int = 0, seconds: float = 600) -> int:
    """Stop the trainer right after a checkpoint beyond step `after`, so that it is in the middle;
    return the last one's step.

    It may have written more of them until the signal came: the next call must not take those for a
    new trainer's.
    """
    wait_for(
        lambda: [step for step in chain.checkpoints(run) if step > after],
        seconds,
        lambda: (
            f"{run} wrote no checkpoint: {chain.log(f'logs/runs/{run}/train_lora.log')[-2000:]}"
        ),
    )
    send(chain, run, signal.SIGSTOP)
    return max(chain.checkpoints(run))


def send(chain: Chain, run: str, number: int) -> None:
    """Send a signal to a run's trainer."""
    found = trainers(chain, run)
    assert found, f"no trainer of {run} runs"
    for process in found:
        os.kill(process, number)


def clone_runs(chain: Chain, names: list[str]) -> None:
    """Give a chain more runs that train as main does, on copies of what was made for main."""
    for name in names:
        shutil.copytree(
            chain.work / "results/runs/main",
            chain.work / "results/runs" / name,
            copy_function=shutil.copy2,
        )
    chain.configure(runs={name: {"dataset": "demo"} for name in names})
