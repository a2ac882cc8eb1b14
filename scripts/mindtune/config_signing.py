"""What config/schema.yaml cannot say of signatures: which keys go together."""

from collections.abc import Mapping
from typing import Any

from mindtune.cli import UserError


def check_signing(config: Mapping[str, Any]) -> None:
    """A passphrase or a certificate belongs to a key, and a name to an authority; a signer is asked
    for in one way.
    """
    export = config["export"]
    for key, needed in (
        ("signing_passphrase", "signing_key"),
        ("signing_certificate", "signing_key"),
        ("identity", "authority"),
        ("authority", "identity"),
    ):
        if export[key] and not export[needed]:
            raise UserError(
                f"config key export.{key} is {export[key]!r}, and export.{needed} is null; set "
                f"both or neither"
            )
    for one, other in (
        ("signing_passphrase", "signing_certificate"),
        ("public_key", "authority"),
    ):
        if export[one] and export[other]:
            raise UserError(
                f"config keys export.{one} and export.{other} are both set, and only one of them "
                f"can be used; set the other to null"
            )
