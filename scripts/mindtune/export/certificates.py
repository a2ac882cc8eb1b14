"""Who a signature names: the signer's key and certificate."""

import hashlib
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sigstore_models.bundle import v1


def key_hash(key: PublicKeyTypes) -> str:
    """SHA-256 of a public key in PEM, as openssl writes it: what `sha256sum author.pub` says."""
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def signing_certificate(signature: Path) -> x509.Certificate:
    """The signer's certificate in a signature that has passed the library: it was read from the
    same place, by the same parser.
    """
    material = json.loads(signature.read_text(encoding="utf-8"))["verificationMaterial"]
    bundle = v1.VerificationMaterial.from_dict({"tlogEntries": [], **material})
    return x509.load_der_x509_certificate(bundle.x509_certificate_chain.certificates[0].raw_bytes)


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
