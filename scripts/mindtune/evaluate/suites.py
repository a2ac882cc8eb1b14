"""A suite is one file: config/suites/NAME.yaml says where its questions lie, how they are asked and
by which function the replies are scored. Nothing else knows a suite by its name.

The files are read strictly, once, while a start is planned; its jobs get what was read.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.config_errors import check_known, nearest
from mindtune.strict_yaml import read_strictly

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
HUBS = ("modelscope", "huggingface")
SOURCES = ("split", "repository", "user", *HUBS)
LANGUAGES = ("zh", "en")
# key: (types, default); without a default it must be given
KEYS: dict[str, tuple[tuple[type, ...], Any]] = {
    "about": ((str,), ...),
    "source": ((str,), ...),
    "path": ((str, type(None)), None),
    "id": ((str, type(None)), None),
    "revision": ((str, type(None)), None),
    "sha256": ((str, type(None)), None),
    "licence": ((str,), ...),
    "split": ((str, type(None)), None),
    "form": ((str,), ...),
    "dirt": ((str,), "refuse"),
    "categories": ((list,), []),
    "languages": ((list,), ...),
    "instruction": ((dict,), {}),
    "system": ((str, type(None)), None),
    "max_new_tokens": ((int,), ...),
    "max_items": ((int, type(None)), None),
    "shuffles": ((int,), 0),
    "likelihood": ((bool,), False),
    "scorer": ((str,), ...),
    "metric": ((str,), ...),
    "reads": ((list,), []),
    "note": ((str,), ...),
}
# What config.yaml may say of a suite, and what it lays over the suite's own file
OVER = ("path", "max_new_tokens", "max_items")


def read_suite(path: Path, scorers: Path) -> dict[str, Any]:
    """The settings of one suite, complete; a UserError names the file and the key."""
    spec = read_strictly(path)
    if not isinstance(spec, dict):
        raise UserError(f"{path} is no mapping of keys to values; docs/change.md shows a suite")
    check_known(spec, KEYS, str(path))
    for key, (types, default) in KEYS.items():
        if key not in spec and default is ...:
            raise UserError(f"{path}: the key {key} is missing; docs/change.md says what it holds")
        value = spec.setdefault(key, default)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in types)
            raise UserError(f"{path}: {key} is {value!r}; expected {wanted}")
    check_suite(spec, path, scorers)
    return spec


def check_suite(spec: Mapping[str, Any], path: Path, scorers: Path) -> None:
    """What the types do not say: names that exist, keys that a source needs, numbers in range."""
    named = {
        "source": SOURCES,
        "dirt": ("refuse", "exclude"),
        "scorer": ("dialogue", *sorted(file.stem for file in scorers.glob("[a-z]*.py"))),
    }
    for key, known in named.items():
        if spec[key] not in known:
            raise UserError(f"{path}: {key} is {spec[key]!r}; expected one of {', '.join(known)}")
    needed = {"repository": ("path",)} | dict.fromkeys(HUBS, ("id", "revision"))
    for key in needed.get(spec["source"], ()):
        if not spec[key]:
            raise UserError(f"{path}: source {spec['source']} needs {key}; give it")
    if not spec["languages"] or set(spec["languages"]) - set(LANGUAGES):
        raise UserError(f"{path}: languages is {spec['languages']!r}; list zh, en or both")
    if spec["sha256"] and not re.fullmatch("[0-9a-f]{64}", spec["sha256"]):
        raise UserError(f"{path}: sha256 is {spec['sha256']!r}; give 64 hexadecimal digits or null")
    if spec["max_new_tokens"] < 1 or not 0 <= spec["shuffles"] <= 1:
        raise UserError(f"{path}: max_new_tokens is at least 1, shuffles is 0 or 1; correct them")


def suite_files(folder: Path) -> dict[str, Path]:
    """{name: file} of all suites of a folder, sorted by name."""
    files = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    for name, path in files.items():
        if not NAME.fullmatch(name):
            raise UserError(f"{path}: a suite's name is letters, digits, _ and -; rename the file")
    return files


def chosen_suites(evaluate: Mapping[str, Any], root: Path) -> dict[str, dict[str, Any]]:
    """{name: settings} of the suites that a configuration evaluates.

    `evaluate` is the configuration's section, `root` the repository. Without `only` these are all
    suites whose data can be had: those that the project ships, and those that `suites` gives a
    path.
    """
    files = suite_files(root / "config/suites")
    for name in [*evaluate["suites"], *(evaluate["only"] or [])]:
        if name not in files:
            raise UserError(
                f"config key evaluate names the suite {name!r}, and there is no "
                f"config/suites/{name}.yaml; the nearest is {nearest(name, files)}"
            )
    scorers = root / "scripts/mindtune/evaluate/scorers"
    suites = {}
    for name, path in files.items():
        over = evaluate["suites"].get(name, {})
        spec = read_suite(path, scorers)
        spec |= {key: over[key] for key in OVER if over.get(key) is not None}
        wanted = name in (evaluate["only"] if evaluate["only"] is not None else files)
        if spec["source"] == "user" and not spec["path"]:
            if evaluate["only"] is not None and wanted:
                raise UserError(
                    f"the suite {name} needs its data, which the project does not ship: set "
                    f"evaluate.suites.{name}.path to where they lie"
                )
            continue
        if wanted:
            suites[name] = spec
    if not suites:
        raise UserError("config key evaluate.only leaves no suite; name at least one")
    return suites


def check_room(suites: Mapping[str, Mapping[str, Any]], session_len: int) -> None:
    """Every suite's longest reply leaves room for a prompt within a session of the engine."""
    for name, spec in suites.items():
        if spec["max_new_tokens"] >= session_len:
            raise UserError(
                f"suite {name}: max_new_tokens is {spec['max_new_tokens']}, which leaves no room "
                f"for "
                f"a prompt within serve.session_len {session_len}; lower the first "
                f"(evaluate.suites.{name}.max_new_tokens) or raise the second"
            )
