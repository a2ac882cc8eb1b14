"""Serve an export in the foreground, as the configuration's `serve` says: for a terminal, a
systemd unit or a SLURM job.

Checks the export against its manifest, then becomes the server, so that whoever started it can
signal and watch the server itself. It listens on the loopback interface; put a reverse proxy with
TLS before it for other machines. The API key is read from a file that only its owner may read; a
file that is not there is made. With a public key (export.public_key or --public-key), or a name and
the authority that vouches for it (export.identity and authority), an export is served only if they
signed it; with a list (export.revoked) only if neither it nor their key was taken back.

Reads   an export folder, the configuration, the key file
Writes  the key file, if there is none
"""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from mindtune.config import read_files, read_schema, resolve, serve_settings
from mindtune.environments import ROOT, serve_env, venv_name, venvs_folder
from mindtune.secret_files import check_secret
from mindtune.serve.engine_settings import (
    check_engine,
    environment,
    lmdeploy_command,
    transformers_command,
)
from verify_export import check, check_revoked

KEY_LENGTH = 16
# What names a signer: a key, or what an authority, or a provider of logins, calls them
SIGNER = ("public_key", "authority", "identity", "issuer")
WORDS = ("identity", "issuer")  # the others are files
TURBOMIND = "import sys; from lmdeploy import turbomind; sys.exit(not turbomind.is_available())"


def read_config(overlay: Path | None) -> dict[str, Any]:
    """The resolved configuration: config/config.yaml, with another file laid over it if there is
    one.
    """
    return resolve(
        read_files([ROOT / "config/config.yaml", *([overlay] if overlay else [])]), read_schema()
    )


def engine_python(config: dict[str, Any]) -> str:
    """The interpreter of the environment that serves; a UserError if it is not built."""
    env = serve_env(config["serve"]["engine"])
    folder = Path(venvs_folder(), venv_name(env, config["device"] == "gpu"))
    if not (folder / "READY").is_file():
        raise UserError(
            f"{folder} is not built; build it with: snakemake --cores 1 build_env_{env} (and the "
            f"same --configfile)"
        )
    return str(folder / "bin" / "python")


def check_key(path: Path) -> None:
    """Make the key file if it is not there; a UserError if others may know it, or if it holds no
    key.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii"
        ) as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
        print(f"made the API key {path}")
    check_secret(path)
    if not re.fullmatch(rb"[!-~]{%d,}\n?" % KEY_LENGTH, path.read_bytes()):
        raise UserError(
            f"{path} holds no key, which is one line of at least {KEY_LENGTH} letters, digits and "
            f"signs without a space; "
            "remove it, and a key is made"
        )


def demanded(given: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """{SIGNER or "revoked": what it has to be} of what is served: the command line's, else the
    configuration's. A signer of the one takes the place of the other's.
    """
    named = {
        key: ROOT / value if value and key not in WORDS else value
        for key, value in config["export"].items()
        if key in (*SIGNER, "sigstore", "revoked")
    }
    if any(given.get(key) for key in SIGNER):
        named |= {key: given.get(key) for key in SIGNER}
    named |= {key: given.get(key) or named[key] for key in ("sigstore", "revoked")}
    if not named["issuer"]:
        named["sigstore"] = None  # that of signing
    return {key: str(value) for key, value in named.items() if value}


def check_export(folder: Path, demands: Mapping[str, str]) -> None:
    """A UserError with the first thing that is wrong with an export, or with its signature if a
    signer is demanded.
    """
    if any(key in demands for key in SIGNER):
        return check_signature(folder, demands)
    wrong, files, size = check(folder)
    if not wrong and "revoked" in demands:
        wrong = check_revoked(folder, Path(demands["revoked"]))
    if wrong:
        raise UserError(
            f"{folder} is not what was exported ({wrong[0]}, {len(wrong)} in all); copy it again"
        )
    print(
        f"{folder}: {files} files, {size:,} bytes, complete; no export.public_key, so who made it "
        f"was not checked"
    )


def check_signature(folder: Path, demands: Mapping[str, str]) -> None:
    """A UserError unless an export is complete and signed by whom is demanded, as the core
    environment's program finds.
    """
    python = Path(venvs_folder(), venv_name("core", False), "bin", "python")
    if not python.exists():
        raise UserError(
            f"{python} is not built, which checks signatures; build it with: snakemake "
            f"build_env_core"
        )
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in demands.items()]
    words = [python, ROOT / "scripts/deploy/verify_signature.py", *flags, "--", folder]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise UserError(said.replace("error: ", "", 1))
    print(done.stdout, end="")


def check_turbomind(engine: dict[str, Any]) -> None:
    """LMDeploy serves with its PyTorch engine if TurboMind cannot be loaded: a UserError
    instead.
    """
    wanted = engine["engine"] == "lmdeploy" and engine["backend"] == "turbomind"
    if wanted and subprocess.run([engine["python"], "-c", TURBOMIND]).returncode:
        raise UserError(
            "serve.backend is turbomind, which cannot be loaded here; install CUDA 12's libraries, "
            "or use pytorch"
        )


def command(export: Path, engine: dict[str, Any], port: int, port_file: Path) -> list[str]:
    """The server's command line on a given port."""
    if engine["engine"] == "lmdeploy":
        return lmdeploy_command(export, engine, port)
    return transformers_command(export, engine, port_file, "--port", str(port))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--export", required=True, type=Path)
    parser.add_argument(
        "--configfile", type=Path, help="laid over config/config.yaml, as for the workflow"
    )
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--key-file", required=True, type=Path)
    parser.add_argument(
        "--public-key", type=Path, help="serve only what its owner signed; else export.public_key"
    )
    parser.add_argument(
        "--authority", type=Path, help="that names the signer (PEM); else export.authority"
    )
    parser.add_argument("--identity", help="name of the signer; else export.identity")
    parser.add_argument("--issuer", help="that knows the signer by its login; else export.issuer")
    parser.add_argument("--sigstore", type=Path, help="of one's own; else export.sigstore")
    parser.add_argument("--revoked", type=Path, help="what is not served; else export.revoked")
    args = parser.parse_args()
    config = read_config(args.configfile)
    engine = {**serve_settings(config), "python": engine_python(config)}
    check_engine(engine)
    check_key(args.key_file)
    # a link to an export may be pointed elsewhere while the server reads
    export = args.export.resolve()
    check_export(export, demanded(vars(args), config))
    check_turbomind(engine)
    words = command(export, engine, args.port, args.key_file.with_suffix(".port"))
    print(f"serving {engine['model_name']} on http://127.0.0.1:{args.port}/v1", flush=True)
    os.execve(words[0], words, environment(engine, args.key_file.resolve()))


if __name__ == "__main__":
    raise SystemExit(run(main))
