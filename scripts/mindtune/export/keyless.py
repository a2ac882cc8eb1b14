"""Sigstore's way to sign without a key: a provider of logins says who somebody is, an authority
(Fulcio) gives that name a certificate for ten minutes, and a public log (Rekor) notes it.

Signing asks these services, and nothing else here does. Verifying asks nobody.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_signing import signing, verifying
from model_signing._signing import sign_sigstore
from sigstore import oidc
from sigstore import sign as sigstore_sign
from sigstore import verify as sigstore_verify
from sigstore.models import ClientTrustConfig

from mindtune.cli import UserError
from mindtune.config_signing import AMBIENT
from mindtune.secret_files import read_secret

MOST_SECONDS = 120  # for all services together: the client waits for ever


class Signer(sign_sigstore.Signer):
    """The library's signer with a login that is there: its own asks the provider when it is made,
    and opens a browser where there is no login.
    """

    def __init__(self, token: oidc.IdentityToken, trust: ClientTrustConfig) -> None:
        self.token = token
        self._signing_context = sigstore_sign.SigningContext.from_trust_config(trust)

    def _get_identity_token(self) -> oidc.IdentityToken:
        return self.token


class Verifier(sign_sigstore.Verifier):
    """The library's verifier with roots that are here: its own asks the internet for new ones."""

    def __init__(self, identity: str, issuer: str, trust: ClientTrustConfig) -> None:
        self._verifier = sigstore_verify.Verifier(trusted_root=trust.trusted_root)
        self._policy = sigstore_verify.policy.Identity(identity=identity, issuer=issuer)


@contextmanager
def bounded() -> Iterator[None]:
    """End a wait for services that do not answer, as a TimeoutError."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"no answer within {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read_trust(path: Path) -> ClientTrustConfig:
    """The roots and services of a Sigstore instance of one's own."""
    try:
        return ClientTrustConfig.from_json(path.read_text(encoding="utf-8"))
    except Exception as error:  # pydantic's, and the library's own
        raise UserError(
            f"{path} is no trust configuration of Sigstore ({str(error).splitlines()[0]}); give a "
            f"ClientTrustConfig in JSON, with trustedRoot and signingConfig"
        ) from None


def login(where: str) -> oidc.IdentityToken:
    """The login in a file, or that of the job in which this runs; a UserError for one that is not
    there, has run out or is not for Sigstore. What it says stands in no message.
    """
    try:
        raw = (
            oidc.detect_credential()
            if where == AMBIENT
            else read_secret(Path(where), "export.signing_login").decode("ascii", "replace")
        )
        if not raw:
            raise UserError(
                "export.signing_login is ambient, and this is no job of a CI that vouches for it; "
                "give the job the right to ask for an identity token (GitHub: id-token: write), or "
                "name a file with one"
            )
        return oidc.IdentityToken(raw)
    except oidc.IdentityError as error:
        cause = f", {error.__cause__}" if error.__cause__ else ""
        raise UserError(
            f"export.signing_login: {where} gives no identity that holds now ({error}{cause}); get "
            f"a new identity token for the audience sigstore and run again, only the export is "
            f"made anew"
        ) from None
    except Exception as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"export.signing_login: {where} gives no identity ({type(error).__name__}: {error}); "
            f"check the rights of this job, or name a file with an identity token"
        ) from None


def login_signer(where: str, trust: Path | None) -> Any:
    """What signs with a login, at an instance of one's own or the public one."""
    token = login(where)
    config = signing.Config()
    config._signer = Signer(token, read_trust(trust) if trust else ClientTrustConfig.production())
    return config


def login_verifier(identity: str, issuer: str, trust: Path | None) -> Any:
    """What checks that somebody signed whom a provider of logins knows by a name. The public
    instance's roots are those that the package brought; nobody is asked.
    """
    roots = read_trust(trust) if trust else ClientTrustConfig.production(offline=True)
    config = verifying.Config()
    config._verifier, config._uses_sigstore = Verifier(identity, issuer, roots), True
    return config
