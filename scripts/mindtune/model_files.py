"""What a model folder may hold: names from a list, and JSON that names no code.

Looked at when a model is fetched, and again by whoever loads it: a folder may have been given by
hand or altered since.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from mindtune.cli import UserError
from mindtune.records import list_files

ABOUT = [
    f"{name}{suffix}"
    for name in ("README", "LICENSE", "LICENCE", "NOTICE")
    for suffix in ("", ".md", ".txt")
]
TOKENIZER = [
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
    "configuration.json",
]  # fmt: skip
WEIGHTS = ["*.safetensors", "*.safetensors.index.json"]
# Pickles, code, and formats of other frameworks that hold either
UNSAFE = [
    f"*{suffix}"
    for suffix in (
        ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz",
        ".h5", ".keras", ".msgpack", ".nemo", ".py",
        ".pyc", ".pyo", ".pyd", ".pyz", ".pth.tar", ".so", ".so.*", ".dll", ".dylib", ".sh", ".whl",
        ".egg", ".ipynb",
    )
]  # fmt: skip
# Keys whose value is code to import, or the name of a place to take it from: transformers, peft,
# ModelScope
CODE_KEYS = ("auto_map", "megatron_config", "plugins")
# Where a model came from; nothing opens it
LABELS = ("_name_or_path", "name_or_path", "base_model_name_or_path", "special_tokens_map_file")
# "REPOSITORY--module.Class", a file of code, or an absolute path
CODE_VALUE = re.compile(
    r"\S+--\w+(\.\w+)+|\S+\.(py|pyc|pyo|so)|(/[^/\s]+){2,}/?|~/\S+|[A-Za-z]:\\\S+"
)
MAX_BYTES, MAX_DEPTH = 64 << 20, 50  # the largest tokenizer.json that is known has 33 MB


def matches(name: str, patterns: Sequence[str]) -> bool:
    """True when a file's base name fits one of the patterns, in any case of letters."""
    return any(fnmatch(PurePosixPath(name).name.lower(), pattern.lower()) for pattern in patterns)


def check_names(names: Iterable[str], folder: Path) -> None:
    """No pickles and no code: loading either can run anything."""
    if unsafe := [name for name in names if matches(name, UNSAFE)]:
        raise UserError(
            f"{folder / unsafe[0]} can run code when it is loaded (found {len(unsafe)} such "
            f"file(s)); expected safetensors "
            "and JSON only: convert the weights to safetensors and take such files out of the "
            "folder"
        )


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file of somebody else's: an object, of bounded size and depth; anything else is a
    UserError that names it.
    """
    if path.stat().st_size > MAX_BYTES:
        raise UserError(
            f"{path} has {path.stat().st_size:,} bytes, and at most {MAX_BYTES:,} are read; fetch "
            f"the model again"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{path} is not whole JSON ({why}); fetch the model again") from error
    if path.name == "modules.json" and isinstance(content, list):  # of sentence-transformers
        content = {"modules": content}
    if not isinstance(content, dict):
        raise UserError(
            f"{path} holds {str(content)[:40]!r} and should hold an object, {{...}}; fetch the "
            f"model again"
        )
    return content


def settings(content: dict[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    """(key, value) of everything in a JSON object at any depth; an item of a list has the list's
    key.
    """
    left: list[tuple[str, Any, int]] = [("", content, 0)]
    while left:
        key, value, depth = left.pop()
        if depth > MAX_DEPTH:
            raise UserError(
                f"{path} is nested more than {MAX_DEPTH} deep; use a model whose settings are plain"
            )
        yield key, value
        if isinstance(value, dict):
            left += [(str(name), part, depth + 1) for name, part in value.items()]
        elif isinstance(value, list):
            left += [(key, part, depth + 1) for part in value]


def names_code(key: str, value: Any) -> bool:
    """True if a library could take code from where this setting points. A number or a switch
    points nowhere.
    """
    if value is None or isinstance(value, (bool, int, float)) or key in LABELS:
        return False
    key = key.lower()
    if key in CODE_KEYS or key.startswith("custom_"):
        return True
    if key.endswith("_implementation"):
        return "/" in json.dumps(value)  # a repository of kernels
    return isinstance(value, str) and CODE_VALUE.fullmatch(value) is not None


def check_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a model folder; one that names code is a UserError."""
    content = read_object(path)
    # the vocabulary is a million texts, which only the tokenizers library reads; it knows no code
    looked_at = {
        key: value
        for key, value in content.items()
        if (path.name, key) != ("tokenizer.json", "model")
    }
    for key, value in settings(looked_at, path):
        if names_code(key, value):
            raise UserError(
                f"{path} names code of its own ({key}: "
                f"{json.dumps(value, ensure_ascii=False)[:80]}); "
                "use a model that transformers knows without it, like Qwen2.5, or take this "
                "setting out"
            )
    return content


def check_files(folder: Path) -> None:
    """All names and all JSON files of a folder that somebody is about to load."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the folder of a model")
    names = list_files(folder)
    check_names(names, folder)
    for name in names:
        if name.lower().endswith(".json"):
            check_json(folder / name)
