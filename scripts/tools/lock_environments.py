"""Pin what envs/*.in name, with hashes: `make lock`. A lock holds for Linux on x86_64 with Python
3.11.

Pins of a lock that is there are kept where envs/*.in allow it; remove the lock to have the newest.

Reads   envs/NAME.in
Writes  envs/NAME.lock, envs/build.txt
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from build_env import torch_arguments, uv
from mindtune.cli import argument_parser, run

ENVS = Path(__file__).resolve().parents[2] / "envs"
COMMON = [
    "--quiet",
    "--generate-hashes",
    "--python-version",
    "3.11",
    "--no-header",
    "--no-annotate",
]
LINUX = ["--python-platform", "x86_64-manylinux_2_28"]
# With all that their packages need
WHOLE = ("driver", "core", "dashboard", "judge")
# The listed packages alone: data, and what is added to an environment that has the rest
ALONE = ("tiny", "smollm2", "qlora", "signing", "peers", "kernels")


def lock(env: str, *options: str, registry_only: bool = True) -> None:
    """Write one lock. `registry_only`: whatever wheels this machine has in folders of its own."""
    suffix = ".txt" if env == "build" else ".lock"
    files = ["--output-file", str(ENVS / f"{env}{suffix}"), str(ENVS / f"{env}.in")]
    uv("pip", "compile", *COMMON, *options, *files, find_links=not registry_only)
    print(f"envs/{env}{suffix}", flush=True)


def main() -> None:
    argument_parser(__doc__).parse_args()
    lock("build")
    for env in WHOLE:
        lock(env)
    for env in ALONE:
        lock(env, "--no-deps", "--prerelease", "allow")
    # resolved with the CPU build of torch, whose needs both builds share
    lock("train", "--no-emit-package", "torch", *torch_arguments("cpu"), registry_only=False)
    lock(
        "train-cuda",
        *LINUX,
        "-c",
        str(ENVS / "train.lock"),
        "--no-emit-package",
        "nvidia-cutlass-dsl-libs-cu12",
    )
    lock("serve", *LINUX)


if __name__ == "__main__":
    raise SystemExit(run(main))
