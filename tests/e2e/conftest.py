"""The demo, run once for all tests, and its deterministic part once more in folders with names
that a shell would read.

The first run has keys in its environment, no network and a home of its own: test_isolation.py
looks at what became of them.
"""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from mindtune.environments import venvs_folder  # noqa: E402

# What a clone needs; a user's other files stay where they are
CLONED = (
    "Snakefile",
    "config",
    "envs",
    "profiles",
    "resources",
    "rules",
    "scripts",
    "pyproject.toml",
)
ODD = '我的 project\'s $(touch P) "`touch P`" dir'
PLANTED = "planted-7f3a91c2"
KEYS = {
    name: f"{PLANTED}-{name.lower()}"
    for name in (
        "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN", "MODELSCOPE_SDK_TOKEN",
        "SWANLAB_API_KEY", "OPENAI_API_KEY",
        "JUDGE_API_KEY",
    )
}  # fmt: skip


@dataclass
class Demo:
    """A finished demo: its working directory, what it printed, and the seconds it took."""

    work: Path
    output: str
    seconds: float
    # command lines of the processes that were seen, and those among them that had a planted key in
    # their environment
    seen: set[str] = field(default_factory=set)
    with_key: set[str] = field(default_factory=set)

    @property
    def results(self) -> Path:
        return self.work / "results"


def run_demo(
    work: Path, *arguments: str, root: Path = ROOT, within: tuple[str, ...] = (), **variables: str
) -> Demo:
    """Run scripts/tools/demo.py as `make demo` does; its output is shown if it fails."""
    command = [
        sys.executable,
        str(root / "scripts/tools/demo.py"),
        "--model",
        "tiny",
        "--workdir",
        str(work),
        "--cores",
        "2",
    ]
    start = time.monotonic()
    done = subprocess.run(
        [*within, *command, *arguments], env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-20000:]
    return Demo(work, done.stdout, time.monotonic() - start)


@contextmanager
def watched(demo: Demo):
    """Note which processes of our environments run meanwhile, and in which of them a planted key
    stands.
    """
    done = Event()

    def look() -> None:
        while not done.wait(0.1):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    line = (
                        (process / "cmdline")
                        .read_bytes()
                        .decode(errors="replace")
                        .replace("\0", " ")
                    )
                    environ = (process / "environ").read_bytes()
                    place = os.readlink(process / "cwd")
                except OSError:
                    continue  # it ended, or is somebody else's
                if place == str(demo.work) and line.startswith(venvs_folder()):
                    demo.seen.add(line)
                    if PLANTED.encode() in environ:
                        demo.with_key.add(line)

    thread = Thread(target=look, daemon=True)
    thread.start()
    yield
    done.set()
    thread.join()


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    # what is not built yet needs a package registry
    for env in ("core", "train", "tiny"):
        subprocess.run(
            [sys.executable, ROOT / "scripts/mindtune/environments.py", env], cwd=ROOT, check=True
        )
    folder = tmp_path_factory.mktemp("first")
    namespace = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    within = (*namespace, sys.executable, str(Path(__file__).with_name("no_network.py")))
    work = folder / "demo"
    watch = Demo(work, "", 0.0)
    with watched(watch):
        made = run_demo(
            work,
            within=within,
            HOME=str(folder / "home"),
            MINDTUNE_VENVS=os.path.abspath(venvs_folder()),
            **KEYS,
        )
    return Demo(made.work, made.output, made.seconds, watch.seen, watch.with_key)


@pytest.fixture(scope="session")
def again(demo):
    """A second call in the same folder."""
    return run_demo(demo.work)


@pytest.fixture(scope="session")
def elsewhere(demo, tmp_path_factory):
    """The part up to the export of run `main`, made anew by a clone: it, its environments, TMPDIR
    and the results lie in odd folders.
    """
    odd = tmp_path_factory.mktemp("second") / ODD
    clone, environments, temporary = odd / "clone", odd / "环境 o'brien", odd / "t m p"
    for name in CLONED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, clone / name)
    environments.symlink_to(venvs_folder())
    temporary.mkdir()
    places = {"MINDTUNE_VENVS": str(environments), "TMPDIR": str(temporary)}
    return run_demo(
        odd / "deeper" / "demo", "--target", "results/runs/main/export", root=clone, **places
    )
