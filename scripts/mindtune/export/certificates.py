"""Who a signature names: the signer's key and certificate."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import crypto
from sigstore_models.bundle import v1


def key_hash(key: PublicKeyTypes) -> str:
    """SHA-256 of a public key in PEM, as openssl writes it: what `sha256sum author.pub` says."""
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def signing_certificates(signature: Path) -> list[x509.Certificate]:
    """The certificates in a signature that has passed the library, the signer's first: they were
    read from the same place, by the same parser.
    """
    material = json.loads(signature.read_text(encoding="utf-8"))["verificationMaterial"]
    bundle = v1.VerificationMaterial.from_dict({"tlogEntries": [], **material})
    return [
        x509.load_der_x509_certificate(found.raw_bytes)
        for found in bundle.x509_certificate_chain.certificates
    ]


def check_in_force(chain: list[x509.Certificate], authority: list[x509.Certificate]) -> None:
    """A ValueError unless the signer's certificate, and all between it and the authority, may be
    used today.

    The library looks at the day from which the signer's certificate holds, whatever day it is now.
    Nothing in such a signature says when it was made, so who has a key whose certificate ran out
    could sign for ever.
    """
    leaf, now = chain[0], datetime.now(UTC)
    if now > leaf.not_valid_after_utc:
        raise ValueError(f"its signer's certificate ran out on {leaf.not_valid_after_utc:%Y-%m-%d}")
    if now < leaf.not_valid_before_utc:
        raise ValueError(
            f"its signer's certificate holds only from {leaf.not_valid_before_utc:%Y-%m-%d} on"
        )
    store = crypto.X509Store()
    for certificate in authority:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    between = [crypto.X509.from_cryptography(certificate) for certificate in chain[1:]]
    try:
        context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), between)
        context.verify_certificate()
    except crypto.X509StoreContextError as error:
        raise ValueError(f"the authority does not vouch for its signer today: {error}") from None


def signer_names(certificate: x509.Certificate) -> list[str]:
    """The e-mail addresses and URIs for which a certificate was issued."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        name
        for kind in (x509.RFC822Name, x509.UniformResourceIdentifier)
        for name in found.get_values_for_type(kind)
    ]
