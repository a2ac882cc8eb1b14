"""Take out of a text what a stranger need not read: where things lay on a machine, who ran them
and where, and what looks like a key.
"""

import getpass
import platform
import re
from collections.abc import Mapping
from pathlib import Path

SECRETS = re.compile(
    r"\b(?:hf_|sk-|gh[pousr]_|ms-|AKIA|xox[abp]-|eyJ)[A-Za-z0-9_.-]{16,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
    re.DOTALL,
)
NAMED_SECRET = re.compile(
    r"(?i)\b([\w-]*(?:api[_-]?key|token|secret|passw(?:or)?d|authorization)[\w-]*)"
    r"(\"?\s*[=:]\s*)(?:Bearer\s+)?[\"']?[^\s\"',;}]{8,}"
)
# A number of tokens is no token
COUNTED = re.compile(r"(?i)tokens|tokeniz")
MAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
ADDRESS = re.compile(r"\b(?!127\.0\.0\.1\b)(?:\d{1,3}\.){3}\d{1,3}\b")
# An absolute path of two parts or more; what systems have in common may stay
PATH = re.compile(
    r"(?<![\w.:/<>~-])/(?!(?:usr|lib|lib64|proc|dev|sys|etc)/)(?:[^\s/'\":;,()<>]+/)+"
)
# Below a home as well; a name that is not ASCII stands in quotes in a command
HOMELY = re.compile(
    r"(?P<quote>'?)<home>/(?:[^\s/'\":;,()<>]+/)+(?P<name>[^\s/'\":;,()<>]*)(?P=quote)"
)
# What stands for a place needs no quotes that the place itself needed
QUOTED = re.compile(r"'(<[a-z]+>[\w./<>+@%:=,-]*)'")


def known_places(code: Path, environments: Mapping[str, str]) -> dict[str, str]:
    """What stands for the places and names of this machine."""
    places = {str(Path.cwd()): "<work>", str(code.resolve()): "<code>", str(Path.home()): "<home>"}
    places |= {str(Path(folder).resolve()): f"<{env}>" for env, folder in environments.items()}
    places |= {folder: f"<{env}>" for env, folder in environments.items()}
    names = {platform.node(): "<host>", getpass.getuser(): "<user>"}
    return places | {
        name: to for name, to in names.items() if name not in ("", "root", "localhost")
    }


def scrub(text: str, known: Mapping[str, str]) -> str:
    """The text with `known` replaced, {path or name: what stands for it}, longest first, and then
    whatever looks like a key, a mail address, an IP address or a path of this machine.
    """
    for found in sorted(known, key=len, reverse=True):
        if found.strip("/."):
            edge = r"(?![\w])" if found[-1].isalnum() else ""
            start = r"(?<![\w])" if found[0].isalnum() else ""
            text = re.sub(start + re.escape(found) + edge, lambda _, to=known[found]: to, text)
    text = QUOTED.sub(r"\1", HOMELY.sub(r"<path>/\g<name>", text))
    text = SECRETS.sub("<secret>", text)
    text = NAMED_SECRET.sub(without_value, text)
    text = MAIL.sub("<mail>", text)
    text = ADDRESS.sub("<address>", text)
    return PATH.sub("<path>/", text)


def without_value(match: re.Match[str]) -> str:
    """`name=<secret>`, unless the name speaks of tokens of a text."""
    return match[0] if COUNTED.search(match[1]) else f"{match[1]}{match[2]}<secret>"
