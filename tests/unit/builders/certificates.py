"""Authorities and signers, made by openssl as an organisation makes its own."""

import subprocess

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
