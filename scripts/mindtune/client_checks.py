"""What the settings of simulated clients need of each other."""

from collections.abc import Mapping
from typing import Any

from mindtune.cli import UserError


def check_conversations(config: Mapping[str, Any]) -> None:
    """A simulated client has what its kind needs, and both sides have room to speak."""
    said = config["evaluate"]["conversations"]
    needed = {"endpoint": ("base_url", "model"), "model": ("path",)}.get(said["client"], ())
    for key in needed:
        if not said[key]:
            raise UserError(
                f"config key evaluate.conversations.client is {said['client']}, which needs "
                f"evaluate.conversations.{key}; set it"
            )
    session_len = config["serve"]["session_len"]
    for key in ("max_new_tokens", "client_max_new_tokens") if said["client"] != "none" else ():
        if said[key] >= session_len:
            raise UserError(
                f"config key evaluate.conversations.{key} is {said[key]}, which leaves no room for "
                f"a prompt within serve.session_len {session_len}; lower one or raise the other"
            )
