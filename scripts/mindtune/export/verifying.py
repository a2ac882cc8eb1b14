"""Who signed an export, and what the signer states of it: everything that needs the package
model-signing.
"""

import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from deploy.verify_export import MANIFEST, MARKER, MOST, SIGNATURE, read_object, shown

from mindtune.cli import UserError
from mindtune.export.certificates import (
    check_in_force,
    key_hash,
    signer_names,
    signing_certificates,
)
from mindtune.export.signing import ORIGIN


def check_public_key(key: Path) -> str:
    """The key's SHA-256, over its PEM form; a UserError unless the file holds a public key."""
    try:
        return key_hash(load_pem_public_key(key.read_bytes()))
    except ValueError:
        raise UserError(
            f"{key} is no public key (PEM); give the file that the author handed out"
        ) from None


def check_signature(folder: Path, verifier: Any, signer: str) -> dict[str, Any]:
    """The statement that was signed; a UserError unless the folder's signature passes the verifier,
    over every file as it is.
    """
    from model_signing import hashing

    signature, statements = folder / SIGNATURE, []
    # the library takes these for paths in the folder, also where the folder's own is relative
    hashed = hashing.Config().set_ignored_paths(paths=[SIGNATURE, MARKER], ignore_git_paths=False)
    signed_content = verifier._verifier._verify_signed_content

    def keep(found: Any) -> tuple[str, bytes]:
        """Keep what the library found signed: a second reading could find something else."""
        kind, content = signed_content(found)
        statements.append(json.loads(content))
        return kind, content

    verifier._verifier._verify_signed_content = keep
    try:
        verifier.set_hashing_config(hashed).verify(folder, signature)
        return statements[0]["predicate"].get(ORIGIN) or {}
    except (
        Exception
    ) as error:  # a signature that somebody wrote makes the library fail in many ways
        reason = shown(error) or type(error).__name__
        raise UserError(f"{folder} is not what {signer} signed ({reason}); do not use it") from None


def check_origin(folder: Path, origin: dict[str, Any], commit: str | None) -> str:
    """What the signer states of the code, as a sentence; a UserError if it does not fit the
    manifest, or is not of the commit that is asked for.
    """
    if not isinstance(origin, dict):
        raise UserError(f"{folder}: its signature states no origin that can be read; do not use it")
    manifest = read_object(folder / MANIFEST, MOST)
    for key in origin.keys() & manifest.keys():
        if origin[key] != manifest[key]:
            raise UserError(
                f"{folder}: its signature and its {MANIFEST} name another {shown(key)}; do not use "
                f"it"
            )
    found, patch = origin.get("commit"), origin.get("uncommitted_sha256")
    changed = f" with uncommitted changes (SHA-256 {patch})" if patch else ""
    if commit and (patch or found != commit.lower()):
        said = f"made from commit {found}{changed}" if found else "signed without a commit"
        raise UserError(
            f"{folder} was {shown(said)}, and {shown(commit)} without changes was expected; do not "
            f"use it"
        )
    return f"\nmade from commit {shown(found)}{shown(changed)}, says the signer" if found else ""


def check_certificate(folder: Path, authority: Path, identity: str) -> tuple[str, dict[str, Any]]:
    """(SHA-256 of the signer's key, what the signer states); a UserError unless a certificate of an
    authority names the signer so.
    """
    from model_signing import verifying

    try:
        trusted = x509.load_pem_x509_certificates(authority.read_bytes())
    except ValueError:
        raise UserError(
            f"{authority} holds no certificate (PEM); give the file of the authority"
        ) from None
    verifier = verifying.Config().use_certificate_verifier(certificate_chain=[authority])
    origin = check_signature(folder, verifier, f"somebody whom {authority} vouches for")
    chain = signing_certificates(folder / SIGNATURE)
    try:
        check_in_force(chain, trusted)
    except ValueError as error:
        raise UserError(
            f"{folder} cannot be trusted any more: {shown(error)}; ask for a new signature, by a "
            f"certificate that holds today"
        ) from None
    names = signer_names(chain[0])
    if identity not in names:
        raise UserError(
            f"{folder} was signed by {shown(', '.join(names) or 'a signer without a name')}, and "
            f"{shown(identity)} was expected; do not use it"
        )
    return key_hash(chain[0].public_key()), origin


def check_key(folder: Path, key: Path) -> tuple[str, dict[str, Any]]:
    """(SHA-256 of the key, what the signer states); a UserError unless its owner signed the
    folder.
    """
    from model_signing import verifying

    verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    origin = check_signature(folder, verifier, f"the owner of {key}")
    return check_public_key(key), origin


def check_login(
    folder: Path, identity: str, issuer: str, trust: Path | None
) -> tuple[str, dict[str, Any]]:
    """("", what the signer states); a UserError unless Sigstore noted that the issuer knew the
    signer by that name. Its key lived for ten minutes: there is none to revoke.
    """
    from mindtune.export.keyless import login_verifier

    verifier = login_verifier(identity, issuer, trust)
    return "", check_signature(folder, verifier, f"{shown(identity)}, as {shown(issuer)} knows it,")
