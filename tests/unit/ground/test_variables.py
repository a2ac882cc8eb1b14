"""The environment that programs start from: what is listed passes, what looks like a secret never
does; bash and Python agree.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.variables import GROUPS, listed, shell_prefix

ROOT = Path(__file__).parents[3]
SECRET = dict.fromkeys(("HF_TOKEN", "MODELSCOPE_API_TOKEN", "MODELSCOPE_SDK_TOKEN",
    "SWANLAB_API_KEY", "OPENAI_API_KEY", "JUDGE_API_KEY", "AWS_SECRET_ACCESS_KEY", "SLURM_JWT",
    "MINDTUNE_PASSWORD", "my_token", "CONDA_TOKEN"), "planted-7f3a")  # fmt: skip
PLAIN = {
    "PATH": "/usr/bin:/bin", "HOME": "/家 a", "SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0",
    "LD_LIBRARY_PATH": "/opt/x",
    "TOKENIZERS_PARALLELISM": "false", "MINDTUNE_VENVS": "/环境 b\n", "OMP_NUM_THREADS": "1",
}  # fmt: skip
OTHER = {
    "HF_ENDPOINT": "http://x",
    "https_proxy": "http://name:word@proxy",
    "FAB_PROVIDER": "odd",
    "SWANLAB_WEBHOOK": "http://x",
}
FUNCTION = {"BASH_FUNC_module%%": "() { :; }"}


def seen_by_bash(environ: dict[str, str], more: str = "") -> dict[str, str]:
    """What a program sees that a rule starts."""
    command = f"set -euo pipefail; {shell_prefix()}{more}exec env --null"
    done = subprocess.run(["bash", "-c", command], env=environ, capture_output=True, check=True)
    pairs = [pair.decode().partition("=") for pair in done.stdout.split(b"\0") if pair]
    return {name: value for name, _, value in pairs if name not in ("_", "PWD", "SHLVL", "OLDPWD")}


@pytest.mark.parametrize(
    "more", ["", "FAB_PROVIDER", "FAB_PROVIDER,HF_TOKEN my_token", "X FAB_PROVIDER"]
)
def test_bash_and_python_let_the_same_variables_pass(more):
    environ = PLAIN | OTHER | SECRET | FUNCTION | ({"MINDTUNE_ENVIRONMENT": more} if more else {})
    seen = seen_by_bash(environ)
    assert seen == listed(environ)
    assert not SECRET.keys() & seen.keys() and "https_proxy" not in seen
    assert PLAIN.items() <= seen.items() and ("FAB_PROVIDER" in seen) == bool(more)


@pytest.mark.parametrize(
    ("group", "name"), [("hub", "HF_TOKEN"), ("hub", "HF_ENDPOINT"), ("swanlab", "SWANLAB_API_KEY")]
)
def test_a_rule_gets_the_group_that_it_asks_for_and_no_other(group, name):
    environ = PLAIN | OTHER | SECRET
    patterns = " ".join(f"'{pattern}'" for pattern in GROUPS[group])
    seen = seen_by_bash(environ, f"take {patterns}; ")
    assert seen == listed(environ, [group])
    assert name in seen and "https_proxy" in seen and "OPENAI_API_KEY" not in seen
    assert ("SWANLAB_API_KEY" in seen) == (group == "swanlab") and "SWANLAB_WEBHOOK" not in seen


def test_a_program_called_by_hand_and_what_it_starts_see_no_key(tmp_path):
    program = (
        "import os, subprocess, sys\nfrom mindtune.cli import run\n"
        "def main():\n"
        "    print(sorted(os.environ))\n"
        "    print(subprocess.run(['cat', '/proc/self/environ'], capture_output=True, "
        "text=True).stdout)\n"
        "raise SystemExit(run(main))\n"
    )
    environ = (
        PLAIN | OTHER | SECRET | {"PYTHONPATH": str(ROOT / "scripts"), "HF_HOME": "/home/cache"}
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        "planted" not in done.stdout
        and "proxy" not in done.stdout
        and "SLURM_JOB_ID" in done.stdout
    )
    assert f"HF_HOME={tmp_path}/.cache/huggingface" in done.stdout, (
        "dialogues are not cached in the user's home"
    )
    assert f"TRITON_CACHE_DIR={tmp_path}/.cache/triton" in done.stdout
