"""Run the unit tests, each folder of tests/unit/ in the environment of that name, which the workflow builds first."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from mindtune.environments import venv_name, venvs_folder  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", required=True)
    args = parser.parse_args()
    build = ["-m", "snakemake", "--quiet", "all", "--cores", args.cores, "--configfile", "config/demo.yaml"]
    subprocess.run([sys.executable, *build, "build_env_core", "build_env_train"], cwd=ROOT, check=True)
    pythons = {
        "driver": sys.executable,
        "core": f"{venvs_folder()}/{venv_name('core', False)}/bin/python",
        "train": f"{venvs_folder()}/{venv_name('train', False)}/bin/python",
    }
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}
    status = 0
    for env, python in pythons.items():
        print(f"tests/unit/{env}", flush=True)
        status |= subprocess.run(
            [python, "-m", "pytest", "-q", f"tests/unit/{env}"], cwd=ROOT, env=environment
        ).returncode
    return status


if __name__ == "__main__":
    raise SystemExit(main())
