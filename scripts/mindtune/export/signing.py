"""Sign an export: by a key in a file, by a key in hardware (PKCS#11), or by a login (Sigstore).

Each writes a Sigstore bundle over every file of the folder, which `verify_signature.py` checks.
"""

import argparse
import sys
from collections.abc import Mapping
from importlib import util
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mindtune.cli import UserError
from mindtune.export.manifest import SIGNATURE
from mindtune.records import sha256_file
from mindtune.secret_files import check_secret, read_secret

# Where the statement's predicate says what the export was made from
ORIGIN = "origin"


def written(folder: Path, signer: Any, origin: Mapping[str, Any] | None) -> dict[str, str]:
    """Sign every file of the folder; return {SIGNATURE: its hash}. Half of a signature does not
    stay.

    What is signed is the library's in-toto statement: a hash of each file, and in its predicate,
    which may hold more, `origin`: what the export was made from.
    """
    from model_signing._signing.signing import Payload

    try:
        payload = Payload(signer._hashing_config.hash(folder))
        payload.statement.pb.predicate.update({ORIGIN: dict(origin)} if origin else {})
        signer._signer.sign(payload).write(folder / SIGNATURE)
    except BaseException:
        (folder / SIGNATURE).unlink(missing_ok=True)
        raise
    return {SIGNATURE: sha256_file(folder / SIGNATURE)}


def key_signer(key: Path, passphrase: Path | None, certificates: Path | None) -> Any:
    """What signs: a key, or a key with the certificates that say whose it is (the signer's own
    first, then those between it and the authority).
    """
    from model_signing import signing

    if certificates is None:
        password = read_secret(passphrase, "export.signing_passphrase") if passphrase else None
        # typed as str, but handed to cryptography, which takes bytes
        return signing.Config().use_elliptic_key_signer(private_key=key, password=password)
    # a chain without a certificate is an error of the library, the signer's own in it is not
    return signing.Config().use_certificate_signer(
        private_key=key, signing_certificate=certificates, certificate_chain=[certificates]
    )


def sign(
    folder: Path,
    key: Path,
    passphrase: Path | None = None,
    certificates: Path | None = None,
    origin: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Sign every file of the folder with an elliptic curve's private key (PEM); return the
    signature's hash.

    The signature is a Sigstore bundle, which the public key, or the authority's certificate, alone
    verifies, with no network (`verify_signature.py`).
    """
    if not key.is_file():
        raise UserError(
            f"export.signing_key: {key} is not there; give the path of a private key, or null for "
            f"no signature"
        )
    check_secret(key)
    try:
        return written(folder, key_signer(key, passphrase, certificates), origin)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{key} is no private key that can sign ({error}); make one as docs/deployment.md "
            f"says, and name its export.signing_passphrase or signing_certificate if it has one"
        ) from error


def add_packages(folder: Path | None) -> None:
    """Put the folder with PyKCS11 at the end of the import path; not there at all: a UserError."""
    sys.path += [str(folder)] if folder else []
    if not util.find_spec("PyKCS11"):
        raise UserError(
            f"export.signing_token is set, and PyKCS11 is neither in {folder} nor in this "
            f"environment; build it with envs/signing.lock (snakemake does so), or sign with a "
            f"key in a file (export.signing_key)"
        )


def token_signer(uri: str, certificates: Path | None) -> Any:
    """What signs with the key that a PKCS#11 URI names, its PIN included."""
    from model_signing import signing
    from model_signing._signing import sign_certificate, sign_pkcs11

    class Certified(sign_pkcs11.CertSigner):
        """Writes certificates as the library's signer with a key file does: version 1.1.1 writes
        those of a token in a form that it does not read.
        """

        _get_verification_material = sign_certificate.Signer._get_verification_material

    config = signing.Config()
    if certificates is None:
        return config.use_pkcs11_signer(pkcs11_uri=uri)
    config._signer = Certified(uri, certificates, [certificates])
    return config


def sign_by_token(
    folder: Path,
    uri: str,
    pin: Path | None = None,
    certificates: Path | None = None,
    packages: Path | None = None,
    origin: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Sign every file of the folder with a key that does not leave its hardware; return the
    signature's hash.

    `uri` names module, token and key (RFC 7512), `pin` the file with the PIN, `packages` the folder
    with PyKCS11. The PIN is put together with the URI in this process alone.
    """
    add_packages(packages)
    from PyKCS11 import PyKCS11Error

    secret = read_secret(pin, "export.signing_passphrase") if pin else b""
    if not secret.isascii():  # the library would send other bytes to the token
        raise UserError(
            f"{pin}: the PIN of export.signing_token has signs besides ASCII's, which "
            f"model-signing cannot send; give the token a PIN of digits and letters of ASCII"
        )
    whole = uri + (f"{'&' if '?' in uri else '?'}pin-value={quote(secret)}" if secret else "")
    try:
        return written(folder, token_signer(whole, certificates), origin)
    except (ValueError, TypeError, PyKCS11Error, UnicodeError) as error:
        said = str(error) or type(error).__name__
        raise UserError(
            f"export.signing_token: the key of {uri} cannot sign ({said}); check token, object and "
            f"module-path with pkcs11-tool, the PIN in export.signing_passphrase, and that the key "
            f"is of curve P-256, P-384 or P-521"
        ) from None


def sign_by_login(
    folder: Path, where: str, trust: Path | None, origin: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Sign every file of the folder as whom a login says, by Sigstore's services, which see the
    statement: names and hashes of files, what they were made from. Return the signature's hash.
    """
    from mindtune.export.keyless import bounded, login_signer

    try:
        with bounded():
            return written(folder, login_signer(where, trust), origin)
    except UserError:
        raise
    except Exception as error:  # of Fulcio's, Rekor's and TUF's clients, and of requests
        said = " ".join(str(error).split())[:300]
        raise UserError(
            f"export.signing_login: Sigstore's services gave no signature "
            f"({type(error).__name__}: {said}); run again when this machine reaches them, only the "
            f"export is made anew"
        ) from None


def add_signing(parser: argparse.ArgumentParser) -> None:
    """The flags that say who signs; without one there is no signature."""
    parser.add_argument("--signing-key", type=Path, nargs="?", help="private key (PEM)")
    parser.add_argument("--signing-token", nargs="?", metavar="URI", help="of a PKCS#11 key")
    parser.add_argument(
        "--signing-passphrase", type=Path, nargs="?", help="file with it, or with a token's PIN"
    )
    parser.add_argument("--signing-certificate", type=Path, nargs="?", help="of the key (PEM)")
    parser.add_argument("--signing-login", nargs="?", help="ambient, or a file with a token")
    parser.add_argument("--sigstore", type=Path, nargs="?", help="trust of one's own instance")
    parser.add_argument("--token-packages", type=Path, nargs="?", help="folder with PyKCS11")


def is_asked(args: argparse.Namespace) -> bool:
    """Whether the flags name anybody who is to sign."""
    return bool(args.signing_token or args.signing_key or args.signing_login)


def sign_as_asked(
    folder: Path, args: argparse.Namespace, origin: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Sign as the flags say; return {SIGNATURE: its hash}, or nothing if nobody is to sign."""
    secret, certificates = args.signing_passphrase, args.signing_certificate
    if args.signing_token:
        packages = args.token_packages
        return sign_by_token(folder, args.signing_token, secret, certificates, packages, origin)
    if args.signing_key:
        return sign(folder, args.signing_key, secret, certificates, origin)
    if args.signing_login:
        return sign_by_login(folder, args.signing_login, args.sigstore, origin)
    return {}
