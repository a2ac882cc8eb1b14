"""Where the virtual environments lie, and under which names: an environment is named by everything
it is built from.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Each of these holds one data package, what a base model of the demo is made from; `qlora` holds
# what that method adds to `train`, `signing` what a key in hardware adds to `core`
DEMO_MODELS = ("tiny", "smollm2")
ENVIRONMENTS = ("core", "train", "serve", *DEMO_MODELS, "qlora", "signing", "judge")
WITH_TORCH = ("train", "serve")
# What builds the packages that are published as sources only
BUILD_CONSTRAINTS = "envs/build.txt"


def serve_env(engine: str) -> str:
    """The environment that runs an engine."""
    return "serve" if engine == "lmdeploy" else "train"


def env_locks(env: str, on_gpu: bool) -> list[str]:
    """The locks that an environment is built from, by hash; relative paths."""
    return [f"envs/{env}.lock", *(["envs/train-cuda.lock"] if env == "train" and on_gpu else [])]


def torch_pins(env: str, on_gpu: bool) -> list[str]:
    """What is pinned by version alone: a CPU build of torch."""
    return [f"envs/{env}.torch"] if torch_build(env, on_gpu) == "cpu" else []


def torch_build(env: str, on_gpu: bool) -> str:
    """Which build of torch an environment takes; empty for one without torch. LMDeploy has no CPU
    build.
    """
    if env not in WITH_TORCH:
        return ""
    return "cuda" if on_gpu or env == "serve" else "cpu"


def site_packages(folder: str) -> str:
    """Where an environment's packages lie; it has the Python of the driver environment."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return os.path.join(folder, "lib", version, "site-packages")


def built_from(env: str, on_gpu: bool) -> list[str]:
    """Every file that says what is in an environment; relative paths."""
    return [
        *env_locks(env, on_gpu),
        *torch_pins(env, on_gpu),
        BUILD_CONSTRAINTS,
        "scripts/build_env.py",
    ]


def venv_name(env: str, on_gpu: bool) -> str:
    """`{env}-{hash}` over what it is built from, and the build of torch; a comment in the program
    that builds it is no part of that.
    """
    from mindtune.code import content_digest

    digest = hashlib.sha256(torch_build(env, on_gpu).encode())
    for name in built_from(env, on_gpu):
        digest.update(content_digest(ROOT / name).encode())
    return f"{env}-{digest.hexdigest()[:12]}"


def venvs_folder(base: str = str(ROOT)) -> str:
    """Outside any working directory, so that the demo and the real run share them; a cluster may
    put them on another disk.
    """
    return os.environ.get("MINDTUNE_VENVS") or os.path.normpath(
        os.path.join(base, ".snakemake", "venvs")
    )


def build(env: str, ready: Path) -> None:
    """Build an environment for a make target, without a GPU's part; the reason of a failure is on
    stderr.
    """
    print(f"building {ready.parent}, once", file=sys.stderr)
    locks, pins = (
        [str(ROOT / name) for name in names(env, False)] for names in (env_locks, torch_pins)
    )
    words = ["--locks", *locks, "--torch-pin", *pins, f"--torch={torch_build(env, False)}"]
    words += ["--build-constraints", str(ROOT / BUILD_CONSTRAINTS), "--ready", str(ready)]
    done = subprocess.run([sys.executable, str(ROOT / "scripts/build_env.py"), *words])
    if done.returncode:
        sys.exit(done.returncode)


def interpreter(env: str) -> str:
    """The interpreter of an environment without a GPU's part; builds what is not there."""
    folder = Path(venvs_folder(), venv_name(env, False))
    if not (folder / "READY").is_file():
        build(env, folder / "READY")
    return str(folder / "bin" / "python")


def main() -> None:
    """Print the interpreter of the environment that is named, after building it if it is not
    there.
    """
    sys.path[0] = str(ROOT / "scripts")  # called by its path, Python looks beside it
    print(interpreter(sys.argv[1]))


if __name__ == "__main__":
    main()
