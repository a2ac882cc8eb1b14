"""Run the unit tests, each file in the environment that its room needs, which the workflow builds
first.

The environments run in two lanes side by side, because the tests in `train` take as long as all
others.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

UNIT = Path(__file__).resolve().parent
ROOT = UNIT.parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from mindtune.environments import interpreter  # noqa: E402

LANES = (("train",), ("driver", "core"))
ENVIRONMENT_OF = {
    "ground": "driver",
    "data": "core",
    "train": "train",
    "export": "train",
    "serve": "train",
    "evaluate": "core",
    "audit": "core",
    "tools": "core",
    "deploy": "core",
    "bench": "train",
    "peers": "train",
    # single files that need another one than their room
    "ground/test_chain.py": "train",
    "ground/test_preflight.py": "train",
    "ground/test_processes.py": "core",
    "ground/test_chat_templates.py": "core",
    "ground/test_made_by.py": "train",
    "ground/test_markdown.py": "core",
    "ground/test_refused_models.py": "train",
    "ground/test_safe_loading.py": "train",
    "ground/test_swift_names.py": "train",
    "audit/test_folder.py": "driver",
    "audit/test_paper.py": "driver",
    "audit/test_settings_changed.py": "driver",
    "evaluate/test_generate_replies.py": "train",
    "evaluate/test_local_judge.py": "train",
    "evaluate/test_measure_letters.py": "train",
    "evaluate/test_simulate_conversations.py": "train",
    "tools/test_dashboard.py": "driver",
    "tools/test_sbom.py": "driver",
    "tools/test_makefile.py": "driver",
    "deploy/test_deployment.py": "driver",
    "deploy/test_serve_export.py": "driver",
    "deploy/test_units.py": "driver",
    "deploy/test_terminal.py": "driver",
    "deploy/test_upgrade.py": "driver",
}


def environment_of(test: Path) -> str:
    """The environment that runs a test file; a room that is not listed is a KeyError."""
    name = test.relative_to(UNIT).as_posix()
    return ENVIRONMENT_OF.get(name) or ENVIRONMENT_OF[test.parent.name]


def python_of(env: str) -> str:
    """The interpreter of an environment; the driver's is this one."""
    return sys.executable if env == "driver" else interpreter(env)


def run_tests(env: str, wanted: list[str]) -> int:
    """Run an environment's tests, print what they printed, and return pytest's exit status."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    if env == "train":  # the other environments' tests download, from a hub on this machine
        environment["HF_HUB_OFFLINE"] = "1"
    tests = [
        str(path.relative_to(ROOT))
        for path in sorted(UNIT.rglob("test_*.py"))
        if environment_of(path) == env
    ]
    tests = [test for test in tests if not wanted or any(word in test for word in wanted)]
    if not tests:
        return 0
    command = [python_of(env), "-m", "pytest", "-q", "--durations=5", *tests]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(f"unit tests in {env}\n{done.stdout}", flush=True)
    return done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "wanted", nargs="*", help="parts of paths, such as data/ or test_hub; all without one"
    )
    args = parser.parse_args()
    for env in ("core", "train", "qlora", "signing", "judge", "kernels"):
        interpreter(env)  # what is missing is built before tests run side by side
    with ThreadPoolExecutor(len(LANES)) as pool:
        statuses = list(pool.map(lambda lane: [run_tests(env, args.wanted) for env in lane], LANES))
    return int(any(status for lane in statuses for status in lane))


if __name__ == "__main__":
    raise SystemExit(main())
