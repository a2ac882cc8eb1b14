"""Run the unit tests, each folder of tests/unit/ in the environment of that name, which the workflow builds first.

The folders run in two lanes side by side, because those in `train` take as long as all others.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from mindtune.environments import venv_name, venvs_folder  # noqa: E402

LANES = (("train",), ("driver", "core"))


def python_of(env: str) -> str:
    """The interpreter of an environment; the driver's is this one."""
    return sys.executable if env == "driver" else f"{venvs_folder()}/{venv_name(env, on_gpu=False)}/bin/python"


def run_folder(env: str) -> int:
    """Run one folder's tests, print what they printed, and return pytest's exit status."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    if env == "train":  # the other environments' tests download, from a hub on this machine
        environment["HF_HUB_OFFLINE"] = "1"
    command = [python_of(env), "-m", "pytest", "-q", "--durations=5", f"tests/unit/{env}"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(f"tests/unit/{env}\n{done.stdout}", flush=True)
    return done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", required=True)
    args = parser.parse_args()
    missing = [
        f"build_env_{env}"
        for env in ("core", "train", "qlora")
        if not Path(python_of(env)).parents[1].joinpath("READY").exists()
    ]
    if missing:
        build = ["-m", "snakemake", "--quiet", "all", "--cores", args.cores, "--configfile", "config/demo.yaml"]
        subprocess.run([sys.executable, *build, "--directory", "demo-tests", *missing], cwd=ROOT, check=True)
    with ThreadPoolExecutor(len(LANES)) as pool:
        statuses = list(pool.map(lambda lane: [run_folder(env) for env in lane], LANES))
    return int(any(status for lane in statuses for status in lane))


if __name__ == "__main__":
    raise SystemExit(main())
