"""What config/schema.yaml cannot say of signatures: which keys go together, and what names a key in
hardware.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from mindtune.cli import UserError

# What is set needs one of these to be set, too
NEEDS = {
    "signing_passphrase": ("signing_key", "signing_token"),
    "signing_certificate": ("signing_key", "signing_token"),
    "identity": ("authority",),
    "authority": ("identity",),
}
# Of two only one can be used
EITHER = (
    ("signing_key", "signing_token"),
    ("public_key", "authority"),
)
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
