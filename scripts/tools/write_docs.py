"""Write what is derived from other files of the repository: config/README.md from the schema,
envs/*.yaml from the locks.

A test fails when one of them is not what this program would write.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import argument_parser, run
from mindtune.config import read_schema
from mindtune.records import write_text

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# Configuration

`config.yaml` is the experiment; `--configfile FILE` lays another file over it, as `demo.yaml` does.
Every key is checked before anything runs: an unknown one, a wrong type, a contradiction or a file
that is not there stops with one sentence. A key that is left out has its default. An overlay
removes a run or a dataset of `config.yaml` with null: `runs: {main: null}`. Numbers work in
`--config` as in a file: `--config train='{lora: {rank: 4}}'`. Names of runs and datasets are
folders: letters A-Z and a-z, digits, `_` and `-` (not first), at most 64. `ms-swift.json` lists
what `model.type` and `model.template` may be. `hotlines.yaml` lists the help lines that cleaning
keeps. This page is generated from `schema.yaml` (`make docs`).

`source` with `id` and `revision` (a hub), `id` (a package) or `path` (local) say what a model or a
data set is. A folder that holds results of another one under the same name refuses the
configuration, unless the command line says `--config replace=model`, `data` or `all`; a file cannot
say it. Every other key may be edited at any time, and counts from the next start on.

| key | default | meaning |
|---|---|---|
"""


def rows(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (key, default, meaning) of every leaf of the schema."""
    parts = dict(schema.get("properties", {}))
    if (
        isinstance(schema.get("additionalProperties"), dict)
        and "properties" in schema["additionalProperties"]
    ):
        parts["NAME"] = schema["additionalProperties"]
    for name, part in parts.items():
        key = f"{path}.{name}" if path else name
        # a mapping with defaults of its own, which null leaves out
        nullable = part.get("type") == ["object", "null"] and part.get("default") == {}
        if nullable:
            yield key, "the keys below", part["description"].replace("|", "\\|")
        if (nullable or part.get("type") == "object") and (
            "properties" in part or "properties" in (part.get("additionalProperties") or {})
        ):
            if key == "runs.NAME":
                own = part["properties"]
                yield f"{key}.dataset", "required", own["dataset"]["description"]
                for name, mix in own["mix"]["properties"].items():
                    yield f"{key}.mix.{name}", "none", mix["description"]
                yield f"{key}.*", "as train.*", "any key of train but max_length, for this run only"
            else:
                yield from rows(part, key)
        else:
            default = one_line(part["default"]) if "default" in part else "required"
            yield key, default, part["description"].replace("|", "\\|")


def one_line(value: Any) -> str:
    """A default as YAML on one line, as code."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return f"`{text.splitlines()[0]}`"


def config_page() -> str:
    """The text of config/README.md."""
    schema = read_schema()
    return HEAD + "".join(
        f"| `{key}` | {default} | {meaning} |\n" for key, default, meaning in rows(schema)
    )


def pages() -> dict[Path, str]:
    """Every generated file and its text."""
    return {ROOT / "config/README.md": config_page()}


def main() -> None:
    argument_parser(__doc__).parse_args()
    for path, text in pages().items():
        write_text(path, text)


if __name__ == "__main__":
    raise SystemExit(run(main))
