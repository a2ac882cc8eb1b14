"""A token of SoftHSM with a key in it: what a smart card or an HSM is to a program."""

import os
import subprocess
from pathlib import Path
from shutil import which

MODULE = next(
    (
        path
        for path in map(
            Path,
            (
                "/usr/lib/softhsm/libsofthsm2.so",
                "/usr/lib64/pkcs11/libsofthsm2.so",
                "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
            ),
        )
        if path.is_file()
    ),
    None,
)
MISSING = "" if MODULE and which("softhsm2-util") else "softhsm2 is not installed (apt, dnf)"
PIN = "s4711 & %?"
URI = f"pkcs11:token=mindtune;object=author?module-path={MODULE}"


def softhsm(*words):
    """Run softhsm2-util; an error of it is the test's."""
    subprocess.run(["softhsm2-util", *map(str, words)], check=True, capture_output=True)


def make_token(folder: Path) -> None:
    """A token without a key, which this process and those that it starts find by a variable."""
    (folder / "tokens").mkdir(parents=True)
    settings = folder / "softhsm2.conf"
    settings.write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n",
        encoding="utf-8",
    )
    os.environ["SOFTHSM2_CONF"] = str(settings)
    softhsm("--init-token", "--free", "--label", "mindtune", "--pin", PIN, "--so-pin", "99999999")


def put_key(folder: Path, private: Path, label: str = "author", number: str = "a1") -> None:
    """Put a private key (PEM) into the token; the file may go afterwards."""
    plain = folder / "key.p8"
    words = ["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", private, "-out", plain]
    subprocess.run(words, check=True)
    softhsm("--import", plain, "--token", "mindtune", "--label", label, "--id", number,
            "--pin", PIN)  # fmt: skip
    plain.unlink()
