"""What config/schema.yaml cannot say of judges."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mindtune.cli import UserError


def check_judges(config: Mapping[str, Any]) -> None:
    """Every judge has one place, over https unless it is this machine, and a place of its own."""
    seen: dict[tuple[Any, ...], str] = {}
    for name, judge in config["judge"]["models"].items():
        key = f"config key judge.models.{name}"
        if bool(judge["base_url"]) == bool(judge["path"]):
            raise UserError(
                f"{key} needs base_url (an endpoint) or path (a model folder), and not both; set "
                "one of them"
            )
        url = urlsplit(judge["base_url"] or "")
        if url.scheme == "http" and url.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise UserError(
                f"{key}.base_url is {judge['base_url']}, where key and dialogues would pass "
                "unencrypted; use https, or a tunnel to 127.0.0.1"
            )
        place = (judge["base_url"], judge["path"], judge["model"])
        if place in seen:
            raise UserError(
                f"{key} is the same judge as judge.models.{seen[place]}; two judges are two models"
            )
        seen[place] = name
