"""Who judges: the entries of judge.models, their keys, and whether a judge is kin to what it
judges.
"""

import json
import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mindtune.cli import UserError
from mindtune.secret_files import check_secret

VARIABLE = "MINDTUNE_JUDGE_KEY_"
# A server without keys takes any
NO_KEY = "none"
FAMILIES = {
    "qwen": r"qwen|qwq|qvq",
    "llama": r"llama",
    "deepseek": r"deepseek",
    "glm": r"glm|zhipu",
    "gpt": r"gpt|\bo[1-9]\b",
    "claude": r"claude",
    "gemini": r"gemini|gemma",
    "mistral": r"mistral|mixtral|ministral",
    "internlm": r"internlm",
    "baichuan": r"baichuan",
    "yi": r"\byi\b",
    "kimi": r"kimi|moonshot",
    "ernie": r"ernie|wenxin",
    "doubao": r"doubao",
    "hunyuan": r"hunyuan",
    "minimax": r"minimax|abab",
    "smollm": r"smollm",
}


def families(*names: str) -> set[str]:
    """The families that the names of a model tell; a distilled model has two."""
    text = " ".join(names).lower().replace("_", " ")
    return {family for family, pattern in FAMILIES.items() if re.search(pattern, text)}


def judge_families(spec: Mapping[str, Any]) -> set[str]:
    """The families of a judge, by judge.models.NAME.family, or by what its model is called."""
    if spec["family"]:
        return families(spec["family"]) or {spec["family"].lower()}
    names = [spec["model"], Path(spec["path"] or "").name]
    config = Path(spec["path"] or "", "config.json")
    if spec["path"] and config.is_file():
        names.append(str(json.loads(config.read_text(encoding="utf-8")).get("model_type", "")))
    return families(*names)


def kinship(name: str, spec: Mapping[str, Any], tuned: set[str]) -> str:
    """The warning about a judge of the tuned model's own family; empty if it is none."""
    shared = sorted(judge_families(spec) & tuned)
    if not shared:
        return ""
    return (
        f"judge {name} ({spec['model']}) is of the family that it judges ({', '.join(shared)}); "
        "models prefer replies like their own, so let one of another family judge"
    )


def variable(name: str) -> str:
    """The environment variable that may hold a judge's key."""
    return VARIABLE + re.sub(r"\W", "_", name).upper()


def take_key(
    name: str, spec: Mapping[str, Any], environ: MutableMapping[str, str] = os.environ
) -> str:
    """A judge's key, out of its file or out of the environment, where it does not stay."""
    given = environ.pop(variable(name), "")
    if spec["key_file"]:
        path = Path(spec["key_file"])
        if not path.is_file():
            raise UserError(
                f"judge.models.{name}.key_file is {path}, which is not there; write the key into "
                "it, for you alone (chmod 600)"
            )
        check_secret(path)
        given = path.read_text(encoding="utf-8").strip()
    if not given and urlsplit(spec["base_url"]).scheme == "https":
        raise UserError(
            f"judge {name} has no key: set judge.models.{name}.key_file, or put the key into the "
            f"environment as {variable(name)}, then run again"
        )
    if given and (not given.isascii() or not given.isprintable() or " " in given):
        raise UserError(
            f"the key of judge {name} has a blank or a character that no key has; write it anew"
        )
    return given or NO_KEY
