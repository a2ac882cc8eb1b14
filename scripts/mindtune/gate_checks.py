"""What the configuration says of gates, before anything is planned."""

from collections.abc import Mapping
from typing import Any

from mindtune.cli import UserError


def check_gates(config: Mapping[str, Any]) -> None:
    """Gates that are required exist."""
    if config["export"]["require_gates"] and not config["gates"]:
        raise UserError(
            "config key export.require_gates is true, but no gate is configured, so no run could "
            "pass; set gates (config/gates.yaml has some), or export.require_gates to null"
        )
