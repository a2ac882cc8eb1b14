"""What config/schema.yaml cannot say of signatures: which keys go together, and what names a key in
hardware.
"""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mindtune.cli import UserError

# What is set needs one of these to be set, too
NEEDS = {
    "signing_passphrase": ("signing_key", "signing_token"),
    "signing_certificate": ("signing_key", "signing_token"),
    "identity": ("authority", "issuer"),
    "authority": ("identity",),
    "issuer": ("identity",),
    "sigstore": ("signing_login", "issuer"),
}
# Of two only one can be used
EITHER = (
    ("signing_key", "signing_token"),
    ("signing_key", "signing_login"),
    ("signing_token", "signing_login"),
    ("public_key", "authority"),
    ("public_key", "issuer"),
    ("authority", "issuer"),
)
AMBIENT = "ambient"  # the login of the CI job in which the export is made
TOKEN = "config key export.signing_token"
EXAMPLE = "pkcs11:token=lab;object=author?module-path=/usr/lib/softhsm/libsofthsm2.so"


def check_signing(config: Mapping[str, Any]) -> None:
    """A passphrase or a certificate belongs to a key, and a name to an authority; a signer is asked
    for in one way.
    """
    export = config["export"]
    for key, needed in NEEDS.items():
        if export[key] and not any(export[name] for name in needed):
            raise UserError(
                f"config key export.{key} is {export[key]!r}, and export."
                f"{' and export.'.join(needed)} {'is' if len(needed) == 1 else 'are'} null; set "
                f"both or neither"
            )
    either = list(EITHER)
    if export["signing_key"]:  # model-signing takes no passphrase where there is a certificate
        either.append(("signing_passphrase", "signing_certificate"))
    for one, other in either:
        if export[one] and export[other]:
            raise UserError(
                f"config keys export.{one} and export.{other} are both set, and only one of them "
                f"can be used; set the other to null"
            )
    if export["issuer"] and not re.fullmatch(r"https://[!-~]+", export["issuer"]):
        raise UserError(
            f"config key export.issuer is {export['issuer']!r}, and a provider of logins is named "
            f"by its https address, as in https://accounts.google.com; correct it"
        )
    if export["signing_token"]:
        token_module(export["signing_token"])


def token_module(uri: str) -> str:
    """The absolute path of the module that a PKCS#11 URI names; a UserError for a URI that does not
    name token, key and module, or that holds the PIN.
    """
    for name in ("pin-value", "pin-source"):
        if name in uri.lower():  # the value is not repeated: logs are kept
            raise UserError(
                f"{TOKEN} has {name}, and a PIN stands in no configuration; write it into a file "
                f"of yours and name that as export.signing_passphrase"
            )
    if not re.fullmatch("pkcs11:[!-~]+", uri):
        raise UserError(
            f"{TOKEN} is {uri!r}, which does not start with pkcs11: or has a sign that is not "
            f"ASCII's; write it like {EXAMPLE}"
        )
    where, _, how = uri.removeprefix("pkcs11:").partition("?")
    parts = [part.partition("=") for part in [*where.split(";"), *how.split("&")] if part]
    names = [name for name, _, _ in parts]
    if len(set(names)) != len(names) or not all(sign and value for _, sign, value in parts):
        raise UserError(
            f"{TOKEN} is {uri!r}, in which a part is no name=value or stands twice; write it like "
            f"{EXAMPLE}"
        )
    for any_of in (("token", "slot-id"), ("object", "id"), ("module-path",)):
        if not set(any_of) & set(names):
            raise UserError(
                f"{TOKEN} is {uri!r}, which has no {' and no '.join(any_of)}; write it like "
                f"{EXAMPLE}"
            )
    module = unquote({name: value for name, _, value in parts}["module-path"])
    if not module.startswith("/"):
        raise UserError(
            f"{TOKEN} has the module-path {module!r}, which does not start with /; give the whole "
            f"path of the module"
        )
    return module


def check_login(place: Path, path: str) -> None:
    """A UserError for a file that cannot be a login at Sigstore: an identity token (JWT) whose
    audience is sigstore. Whether it has run out is seen when it is used.
    """
    parts = place.read_text(encoding="utf-8", errors="replace").strip().split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    except (IndexError, ValueError, KeyError, TypeError, RecursionError):
        audience = None
    if len(parts) != 3 or audience is None:  # what the file holds is not repeated
        raise UserError(
            f"config key export.signing_login is {path!r}, which holds no identity token (three "
            f"parts with dots between them, on one line); write one into it, or set it to {AMBIENT}"
        )
    if "sigstore" not in audience:
        raise UserError(
            f"config key export.signing_login is {path!r}, whose identity token is not for the "
            f"audience sigstore; ask your provider for one that is"
        )
