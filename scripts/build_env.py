"""Build one virtual environment from its locks, with `uv`, from whatever package registry this
machine uses.

Every package is installed by hash and without asking what else it wants, but a CPU build of torch:
it comes from a place of the user's choice, so it is pinned by version. What builds a package that
is published as sources alone is pinned by hash, too.

Reads   envs/NAME.lock, envs/build.txt, for a CPU envs/NAME.torch
Writes  the folder of --ready; READY last, with the list of what was installed (first in INSTALLED)
"""

import argparse
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mindtune.cli import UserError, run
from mindtune.preflight import check_room
from mindtune.records import write_text

# The larger of the two environments with torch for CUDA (serve, 7.3 GB)
CUDA_BYTES = 8 * 10**9


def uv(*arguments: str, find_links: bool = True) -> str:
    """Run the driver environment's uv and return its standard output; its own message is the
    log.
    """
    environment = dict(os.environ)
    # uv has its own names for what pip users set: a folder of wheels, and an index
    for ours, pips in (("UV_FIND_LINKS", "PIP_FIND_LINKS"), ("UV_DEFAULT_INDEX", "PIP_INDEX_URL")):
        if pips in environment:
            environment.setdefault(ours, environment[pips])
    if not find_links:
        for name in ("UV_FIND_LINKS", "UV_TORCH_BACKEND"):
            environment.pop(name, None)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "uv", *arguments],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        raise UserError(
            f"uv {' '.join(arguments[:2])} ended with status {error.returncode} (its message is "
            f"above); "
            "check the connection to the package registry and run again"
        ) from None
    return done.stdout


def torch_arguments(build: str) -> list[str]:
    """How to ask for a build of torch: from the user's own folder of wheels if there is one, else
    from PyTorch's own index.
    """
    if build == "cpu" and not (os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS")):
        return ["--torch-backend", "cpu"]
    return []


def check_torch(python: Path, lock: Path, build: str) -> None:
    """torch is of the build that was asked for; else a UserError."""
    cuda = subprocess.run(
        [python, "-c", "import torch; print(torch.version.cuda or '')"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    if bool(cuda) != (build == "cuda"):
        raise UserError(
            f"{lock} got torch for {'CUDA ' + cuda if cuda else 'CPU only'} and needs a {build} "
            f"build; "
            "set UV_FIND_LINKS to a folder with that wheel, or UV_TORCH_BACKEND to cpu or auto, "
            "and run again"
        )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two workflows that share environments may want the same one at
    once.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def build(args: argparse.Namespace, folder: Path) -> str:
    """Build the environment and return the list of what is in it."""
    python = folder / "bin" / "python"
    if args.torch == "cuda":
        check_room(folder.parent, CUDA_BYTES)
    uv("venv", "--clear", "--relocatable", "--python", sys.executable, str(folder))
    install = ["pip", "install", "--python", str(python), "--no-deps"]
    for lock in args.locks:
        uv(
            *install,
            "--require-hashes",
            "--build-constraints",
            str(args.build_constraints),
            "-r",
            str(lock),
        )
    for pin in args.torch_pin:
        uv(*install, "-r", str(pin), *torch_arguments(args.torch))
    if args.torch:
        check_torch(python, args.locks[0], args.torch)
    return uv("pip", "freeze", "--python", str(python))


def main() -> None:
    # without cli.argument_parser: another line here would build every environment anew
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--locks", required=True, nargs="+", type=Path, help="installed one after another, by hash"
    )
    parser.add_argument(
        "--torch-pin", nargs="*", default=[], type=Path, help="what is pinned by version alone"
    )
    parser.add_argument(
        "--build-constraints", required=True, type=Path, help="what builds packages from sources"
    )
    parser.add_argument(
        "--torch", required=True, choices=("", "cpu", "cuda"), help="the build to check for"
    )
    parser.add_argument("--ready", required=True, type=Path)
    args = parser.parse_args()
    folder = args.ready.parent
    installed = folder / "INSTALLED"
    with alone(folder):
        if not installed.exists():
            write_text(installed, build(args, folder))
        # Snakemake removes READY before this program starts, even if another workflow has just
        # made it
        write_text(args.ready, installed.read_text(encoding="utf-8"))


if __name__ == "__main__":
    raise SystemExit(run(main))
