"""Authorities and signers, made by openssl as an organisation makes its own."""

import subprocess
from datetime import UTC, datetime, timedelta

SIGNER = "signer@example.org"


def openssl(*words):
    """Run openssl; an error of it is the test's."""
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def certified(folder, name, issuer=None, extension="basicConstraints=critical,CA:TRUE"):
    """(private key, certificate) of a name: of an authority, unless the extension says otherwise;
    signed by the issuer's pair, or by itself.
    """
    private, request, made = (folder / f"{name}.{kind}" for kind in ("pem", "csr", "crt"))
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private)
    private.chmod(0o600)
    openssl("req", "-new", "-key", private, "-subj", f"/CN={name}", "-out", request)
    (folder / "extension").write_text(extension, encoding="utf-8")
    signed_by = ["-CAkey", issuer[0], "-CA", issuer[1]] if issuer else ["-signkey", private]
    openssl("x509", "-req", "-in", request, *signed_by, "-set_serial", "7", "-days", "30",
            "-extfile", folder / "extension", "-out", made)  # fmt: skip
    return private, made


def leaf(folder, name, issuer, names=f"email:{SIGNER}", usage="digitalSignature"):
    """(private key, certificate) of somebody who signs."""
    extension = f"keyUsage=critical,{usage}" + (f"\nsubjectAltName={names}" if names else "")
    return certified(folder, name, issuer, extension)


def dated(folder, name, days, issuer=None):
    """(private key, certificate) like those of `certified` and `leaf`, which hold from the first to
    the second of `days`, counted from today; openssl 3.0 has no words for that.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    private, made = certified(folder, name)
    keys = [
        serialization.load_pem_private_key(pair[0].read_bytes(), None)
        for pair in ((private, made), issuer or (private, made))
    ]
    subject = x509.load_pem_x509_certificate(made.read_bytes()).subject
    by = x509.load_pem_x509_certificate(issuer[1].read_bytes()).subject if issuer else subject
    start, end = (datetime.now(UTC) + timedelta(days=day) for day in days)
    builder = (
        x509.CertificateBuilder(by, subject, keys[0].public_key(), 7, start, end)
        .add_extension(x509.BasicConstraints(name != "leaf", None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(SIGNER)]), critical=False)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, name != "leaf", False, False, False),
            critical=True,
        )
    )
    signed = builder.sign(keys[1], hashes.SHA256())
    made.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return private, made
