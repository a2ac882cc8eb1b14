"""Serve an export in the foreground, as the configuration's `serve` says: for a terminal, a systemd unit or a SLURM job.

Checks the export against its manifest, then becomes the server, so that whoever started it can signal and watch the server itself.
It listens on the loopback interface; put a reverse proxy with TLS before it for other machines. The API key is read from a file
that only its owner may read; a file that is not there is made.

Reads   an export folder, the configuration, the key file
Writes  the key file, if there is none
"""

import argparse
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, run
from mindtune.config import read_files, read_schema, resolve
from mindtune.engine import check_engine, environment, lmdeploy_command, transformers_command
from mindtune.environments import ROOT, venv_name, venvs_folder
from verify_export import check

TURBOMIND = "import sys; from lmdeploy import turbomind; sys.exit(not turbomind.is_available())"


def read_config(overlay: Path | None) -> dict[str, Any]:
    """The resolved configuration: config/config.yaml, with another file laid over it if there is one."""
    return resolve(read_files([ROOT / "config/config.yaml", *([overlay] if overlay else [])]), read_schema())


def engine_python(config: dict[str, Any]) -> str:
    """The interpreter of the environment that serves; a UserError if it is not built."""
    env = "serve" if config["serve"]["engine"] == "lmdeploy" else "train"
    folder = Path(venvs_folder(), venv_name(env, config["train"]["device"] == "gpu"))
    if not (folder / "READY").is_file():
        raise UserError(
            f"{folder} is not built; build it with: snakemake --cores 1 build_env_{env} (and the same --configfile)"
        )
    return str(folder / "bin" / "python")


def check_key(path: Path) -> None:
    """Make the key file if it is not there; a UserError if others may read it, or if it is empty."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
        print(f"made the API key {path}")
    if path.stat().st_mode & 0o077:
        raise UserError(
            f"{path} can be read by others; run chmod 600 {path}, and make a new key if they may have read it"
        )
    if not path.read_text(encoding="ascii").strip():
        raise UserError(f"{path} is empty; remove it, and a key is made")


def check_export(folder: Path) -> None:
    """A UserError with the first thing that is wrong with an export."""
    wrong, files, size = check(folder)
    if wrong:
        raise UserError(f"{folder} is not what was exported ({wrong[0]}, {len(wrong)} in all); copy it again")
    print(f"{folder}: {files} files, {size:,} bytes, as exported")


def check_turbomind(engine: dict[str, Any]) -> None:
    """LMDeploy serves with its PyTorch engine if TurboMind cannot be loaded: a UserError instead."""
    wanted = engine["engine"] == "lmdeploy" and engine["backend"] == "turbomind"
    if wanted and subprocess.run([engine["python"], "-c", TURBOMIND]).returncode:
        raise UserError(
            "serve.backend is turbomind, which cannot be loaded here; install CUDA 12's libraries, or use pytorch"
        )


def command(export: Path, engine: dict[str, Any], port: int, port_file: Path) -> list[str]:
    """The server's command line on a given port."""
    if engine["engine"] == "lmdeploy":
        return lmdeploy_command(export, engine, port)
    return [*transformers_command(export, engine, port_file), "--port", str(port)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", required=True, type=Path)
    parser.add_argument("--configfile", type=Path, help="laid over config/config.yaml, as for the workflow")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--key-file", required=True, type=Path)
    args = parser.parse_args()
    config = read_config(args.configfile)
    engine = {**config["serve"], "python": engine_python(config)}
    check_engine(engine)
    check_key(args.key_file)
    # a link to an export may be pointed elsewhere while the server reads
    export = args.export.resolve()
    check_export(export)
    check_turbomind(engine)
    words = command(export, engine, args.port, args.key_file.with_suffix(".port"))
    print(f"serving {engine['model_name']} on http://127.0.0.1:{args.port}/v1", flush=True)
    os.execve(words[0], words, environment(engine, args.key_file.resolve()))


if __name__ == "__main__":
    raise SystemExit(run(main))
