"""A Sigstore instance of one's own on this machine: an authority that gives certificates (Fulcio),
with a log of them, and a log of signatures (Rekor, version 1). Keys, certificates, proofs and
signatures are real; who a login is, it believes.
"""

import base64
import hashlib
import json
import struct
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "https://login.example.org"
SCTS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
ISSUERS = ("1.3.6.1.4.1.57264.1.1", "1.3.6.1.4.1.57264.1.8")
START = "2021-01-01T00:00:00Z"


def b64(content):
    return base64.b64encode(content).decode()


def der(key):
    """A public key's bytes, of which a log's name is the SHA-256."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def digest(content):
    return hashlib.sha256(content).digest()


def sign(key, content):
    return key.sign(content, ec.ECDSA(hashes.SHA256()))


class Instance:
    """Keys of authority and logs, and what they answer."""

    def __init__(self):
        self.root, self.certificates_log, self.log = (
            ec.generate_private_key(ec.SECP256R1()) for _ in range(3)
        )
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "自己的 sigstore")])
        self.name, self.asked = name, []
        self.authority = (
            self.certificate(name, self.root.public_key(), timedelta(days=300))
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.root.public_key()), critical=False
            )
            .add_extension(
                x509.KeyUsage(*[part in (5, 6) for part in range(9)]), critical=True
            )
            .sign(self.root, hashes.SHA256())
        )  # fmt: skip

    def certificate(self, subject, key, life):
        now = datetime.now(UTC).replace(microsecond=0)
        serial = x509.random_serial_number()
        return x509.CertificateBuilder(
            self.name, subject, key, serial, now - timedelta(seconds=5), now + life
        )

    def certify(self, body, authorization):
        """Fulcio: a certificate for the name in a login, with the proof that it was logged."""
        claims = jwt.decode(authorization.split()[1], options={"verify_signature": False})
        request = x509.load_pem_x509_csr(base64.b64decode(body["certificateSigningRequest"]))
        builder = self.certificate(x509.Name([]), request.public_key(), timedelta(minutes=10))
        builder = (
            builder.add_extension(
                x509.KeyUsage(*[part == 0 for part in range(9)]), critical=True
            )
            .add_extension(
                x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.RFC822Name(claims["sub"])]), critical=True
            )
        )  # fmt: skip
        issuer = claims["iss"].encode()
        values = (issuer, b"\x0c" + bytes([len(issuer)]) + issuer)
        for oid, value in zip(ISSUERS, values, strict=True):
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical=False
            )
        body = builder.sign(self.root, hashes.SHA256()).tbs_certificate_bytes
        moment = int(time.time() * 1000)
        logged = struct.pack("!BBQH", 0, 0, moment, 1) + digest(der(self.root))
        logged += len(body).to_bytes(3, "big") + body + b"\0\0"
        made = sign(self.certificates_log, logged)
        sct = b"\0" + digest(der(self.certificates_log)) + struct.pack("!QH", moment, 0)
        sct += b"\x04\x03" + struct.pack("!H", len(made)) + made
        listed = struct.pack("!HH", len(sct) + 2, len(sct)) + sct
        value = b"\x04" + (b"\x81" if len(listed) > 127 else b"") + bytes([len(listed)]) + listed
        builder = builder.add_extension(x509.UnrecognizedExtension(SCTS, value), critical=False)
        chain = [builder.sign(self.root, hashes.SHA256()), self.authority]
        texts = [part.public_bytes(Encoding.PEM).decode() for part in chain]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": texts}}}

    def note(self, body, _):
        """Rekor: the entry of a signature, the only one of its tree, with promise and proof."""
        asked = body["spec"]["proposedContent"]
        envelope = json.loads(asked["envelope"])
        spec = {
            "envelopeHash": {
                "algorithm": "sha256",
                "value": digest(asked["envelope"].encode()).hex(),
            },
            "payloadHash": {
                "algorithm": "sha256",
                "value": digest(base64.b64decode(envelope["payload"])).hex(),
            },
            "signatures": [
                {"signature": part["sig"], "verifier": asked["verifiers"][0]}
                for part in envelope["signatures"]
            ],
        }  # fmt: skip
        entry = rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        name, root = digest(der(self.log)), digest(b"\0" + entry)
        promised = {"body": b64(entry), "integratedTime": int(time.time()),
                    "logID": name.hex(), "logIndex": 0}  # fmt: skip
        head = f"log.example.org\n1\n{b64(root)}\n"
        signed = b64(name[:4] + sign(self.log, head.encode()))
        proof = {
            "logIndex": 0, "rootHash": root.hex(), "treeSize": 1, "hashes": [],
            "checkpoint": f"{head}\n— log.example.org {signed}\n",
        }  # fmt: skip
        promise = b64(sign(self.log, rfc8785.dumps(promised)))
        return {"1": promised | {"verification": {
            "signedEntryTimestamp": promise, "inclusionProof": proof,
        }}}  # fmt: skip

    def trust(self, url):
        """The trust configuration that the instance hands out."""

        def public(key):
            shown = {"rawBytes": b64(der(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                     "validFor": {"start": START}}  # fmt: skip
            return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": shown,
                    "logId": {"keyId": b64(digest(der(key)))}}  # fmt: skip

        service = {
            "url": url,
            "majorApiVersion": 1,
            "validFor": {"start": START},
            "operator": "我们",
        }
        chain = {"certificates": [{"rawBytes": b64(self.authority.public_bytes(Encoding.DER))}]}
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [public(self.log)],
                "ctlogs": [public(self.certificates_log)],
                "certificateAuthorities": [{
                    "subject": {"organization": "我们", "commonName": "sigstore"}, "uri": url,
                    "certChain": chain, "validFor": {"start": START},
                }],
                "timestampAuthorities": [],
            },
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service], "oidcUrls": [service], "rekorTlogUrls": [service],
                "tsaUrls": [], "rekorTlogConfig": {"selector": "ANY"},
                "tsaConfig": {"selector": "ANY"},
            },
        }  # fmt: skip


@contextmanager
def instance(folder, name="trust.json"):
    """(a running instance, the file with its trust configuration)."""
    made = Instance()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.asked.append(self.path)
            answer = made.certify if "signingCert" in self.path else made.note
            content = json.dumps(answer(body, self.headers["Authorization"])).encode()
            self.send_response(201)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    trust = folder / name
    url = f"http://127.0.0.1:{server.server_port}"
    trust.write_text(json.dumps(made.trust(url), ensure_ascii=False), encoding="utf-8")
    yield made, trust
    server.shutdown()
    server.server_close()


def login_file(folder, name="signer@example.org", life=300, **claims):
    """A file with the identity token of somebody, as a provider of logins writes one."""
    now = int(time.time())
    whole = {"aud": "sigstore", "sub": name, "iss": ISSUER, "iat": now - 1, "exp": now + life}
    token = jwt.encode(whole | claims, "k" * 32, algorithm="HS256")
    (folder / "login").write_text(token + "\n", encoding="utf-8")
    (folder / "login").chmod(0o600)
    return folder / "login"
