"""The real workflow on a model of a few kilobytes: small enough to be broken and repaired many
times.

A `Chain` is a working directory of its own. `template()` is one in which everything up to the
training is made, and `undisturbed()` one that was never disturbed: what a repaired one has to
equal, byte by byte. Both are made once a process, and removed at its end; MINDTUNE_KEEP_CHAINS=1
leaves them to look at.
"""

# Kept long: a chain is one class, with all that the faults do to its folder.

import atexit
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import forked

ROOT = Path(__file__).resolve().parents[2]
BUILDERS = ROOT / "tests/unit/builders"
sys.path[:0] = [str(ROOT / "scripts"), str(BUILDERS)]

from mindtune.environments import interpreter, venvs_folder  # noqa: E402
from mindtune.records import sha256_file, write_json  # noqa: E402

TARGET = "results/export"
TRAINED = "results/runs/main/train_lora.json"
# Two epochs of a few steps, with a checkpoint every two: enough to be stopped in the middle.
# Packed training is killed in test_resume.py; here it would only add its check to every start
DATA = {"clean": {"sources": {"zh.jsonl": {"limit": 20}}}}
TRAIN = {
    "max_length": 2048,
    "epochs": 2,
    "save_steps": 2,
    "packing": False,
    "batch_size": 1,
    "grad_accumulation": 2,
    "save_total_limit": 2,
}
# The trainer notes how much memory it used, which no two runs share, and what holds or hashes it
# is left out
NOT_COMPARED = ("history.csv", "loss.svg", "train_lora.json", "fetch_dataset.log")

# The shell ignores Ctrl-C in what it runs in the background, and so would every process that is
# started here
signal.signal(signal.SIGINT, signal.default_int_handler)


def environment(**extra: str) -> dict[str, str]:
    """What every call of Snakemake gets: one thread, no hub, and environments that are shared with
    the real runs.
    """
    return {
        **os.environ,
        "MINDTUNE_VENVS": venvs_folder(),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        **extra,
    }


@functools.cache
def base_folder() -> Path:
    """Where all chains of this process lie, and the small model beside them."""
    folder = Path(tempfile.mkdtemp(prefix="mindtune-faults-"))
    if not os.environ.get("MINDTUNE_KEEP_CHAINS"):
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    interpreter("core")
    program = (
        "import sys; from pathlib import Path; from models import build_small_model; "
        "build_small_model(Path(sys.argv[1]))"
    )
    paths = os.pathsep.join([str(ROOT / "scripts"), str(BUILDERS)])
    subprocess.run(
        [interpreter("train"), "-c", program, folder / "base"],
        env=environment(PYTHONPATH=paths),
        check=True,
    )
    return folder


def small() -> dict[str, Any]:
    """The demo's configuration made small: its data's first dialogues, and a model of a few
    kilobytes.
    """
    return {
        "datasets": {
            "demo": {
                "source": "local",
                "path": "resources/dialogues/zh.jsonl",
                "licence": "CC0-1.0",
            }
        },
        "model": {
            "source": "local",
            "id": "small",
            "path": str(base_folder() / "base"),
            "revision": None,
        },
        "data": DATA,
        "train": TRAIN,
    }


class Chain:
    """A working directory of the workflow, on the small model."""

    def __init__(self, name: str, root: Path = ROOT, **config: Any) -> None:
        self.work, self.root = base_folder() / name, root
        self.work.mkdir(exist_ok=True)
        self.config = self.work / "chain.json"
        self.configure(**config)

    def configure(
        self, runs: dict[str, Any] | None = None, train: dict[str, Any] | None = None, **parts: Any
    ) -> None:
        """Write what lies over the demo's configuration; the runs beside main train as main
        does.
        """
        runs = {"main": {"dataset": "demo"}, "seed43": {"dataset": "demo"}, **(runs or {})}
        write_json(self.config, {**small(), "runs": runs, "train": TRAIN | (train or {}), **parts})

    def command(self, *arguments: str) -> list[str]:
        """A call of Snakemake in this folder; without a profile among the arguments on two cores
        of this machine.
        """
        place = [] if "--profile" in arguments else ["--cores", "2"]
        return [
            sys.executable, "-m", "snakemake",
            "--snakefile", str(self.root / "Snakefile"), "--directory", str(self.work),
            "--configfile", str(self.root / "config/demo.yaml"), str(self.config),
            *place, *arguments,
        ]  # fmt: skip

    def start(self, *arguments: str, log: str = "snakemake.log", **extra: str) -> subprocess.Popen:
        """Start Snakemake as the leader of a process group, its output in a file of this folder."""
        with open(self.work / log, "ab") as stream:
            return subprocess.Popen(
                self.command(*arguments), cwd=ROOT, env=environment(**extra),
                stdin=subprocess.DEVNULL, stdout=stream,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def run(
        self, *arguments: str, timeout: float = 900, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end; what it printed is `stdout`."""
        _, _, _, *words = self.command(*(arguments or (TARGET,)))
        with tempfile.NamedTemporaryFile(dir=base_folder(), prefix="said-") as output:
            status = forked.snakemake(words, ROOT, environment(**extra), Path(output.name), timeout)
            said = output.read().decode(errors="replace")
        if status is None:
            raise subprocess.TimeoutExpired(words, timeout, said)
        return subprocess.CompletedProcess(words, status, said)

    def finish(self, target: str = TARGET) -> None:
        """Rerun to the end as a user would: no unlocking, no cleaning up by hand."""
        done = self.run("--rerun-incomplete", target)
        assert done.returncode == 0, done.stdout[-6000:]

    def copy(self, name: str) -> "Chain":
        """A copy with all times, so that Snakemake sees nothing to do in it, and with a
        configuration of its own.
        """
        target = base_folder() / name
        shutil.copytree(self.work, target, symlinks=True, copy_function=shutil.copy2)
        chain = object.__new__(Chain)
        chain.work, chain.config, chain.root = target, target / "chain.json", self.root
        return chain

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every result, the export's files among them; what a start notes of itself,
        with times, is none.
        """
        results = self.work / "results"
        found = [path for path in sorted(results.rglob("*")) if path.is_file()]
        files = [path for path in found if path.parent != results / "starts"]
        return {
            path.relative_to(self.work).as_posix(): sha256_file(path)
            for path in files
            if path.name not in NOT_COMPARED and not path.name.startswith(".snakemake")
        }

    def state(self, run: str = "main") -> Path:
        """The folder that holds the checkpoints of a run."""
        return next((self.work / "state/train" / run).glob("????????????????"))

    def checkpoints(self, run: str = "main") -> list[int]:
        """Steps of the whole checkpoints of a run; the last file of a checkpoint decides."""
        found = (self.work / "state/train" / run).glob("*/checkpoint-*/trainer_state.json")
        return sorted(int(path.parent.name.removeprefix("checkpoint-")) for path in found)

    def log(self, name: str) -> str:
        """Text of a log file."""
        path = self.work / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def processes(self) -> list[str]:
        """Processes that work in this folder: their directory, or a path on their command line,
        lies in it.
        """
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (
                    (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                inside = (
                    str(process.joinpath("cwd").resolve()) == str(self.work)
                    or f"{self.work}/" in words
                )
                if inside and int(process.name) != os.getpid():
                    found.append(f"{process.name} {words[:160]}")
        return found

    def assert_converged(self) -> None:
        """Everything is as in a chain that was never disturbed, nothing works here any more, and
        no lock is left.
        """
        wait_for(
            lambda: not self.processes(), 30, lambda: f"processes are left: {self.processes()}"
        )
        expected, found = undisturbed().hashes(), self.hashes()
        different = sorted(name for name in expected if found.get(name) != expected[name])
        assert not different, f"not as in an undisturbed run: {different}"
        assert not [name for name in found if name.endswith(".partial") or ".partial/" in name]
        assert not list((self.work / ".snakemake/locks").glob("*")), "Snakemake's lock is left"


def clone(name: str) -> Path:
    """The files of the repository as they would be committed, in a folder of their own, to be
    edited.
    """
    folder = base_folder() / name
    command = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    for name in filter(
        None, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    ):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@functools.cache
def template() -> Chain:
    """Everything that the training needs, and nothing after it."""
    chain = Chain("template")
    chain.finish("results/runs/main/pack_stats.json")
    chain.finish("results/base/model")
    return chain


@functools.cache
def trained() -> Chain:
    """Everything up to the trained adapter, and nothing after it."""
    chain = template().copy("trained")
    chain.finish(TRAINED)
    return chain


@functools.cache
def undisturbed() -> Chain:
    """The whole chain, without a fault."""
    chain = trained().copy("undisturbed")
    chain.finish()
    return chain


def wait_for(condition: Callable[[], Any], seconds: float, what: str | Callable[[], str]) -> Any:
    """Wait until the condition holds and return its value; fail with `what` after so many
    seconds.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s: {what() if callable(what) else what}")
        time.sleep(0.1)
    return value


@contextmanager
def group(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """A process group that is gone after the block."""
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
