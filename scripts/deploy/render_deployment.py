"""Write what starts a server on its own: systemd units and a SLURM script, from the configuration
and the templates in deploy/.

Reads   the configuration, templates/*.j2
Writes  one file for each template, without .j2, into a folder
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, run
from mindtune.environments import ROOT
from mindtune.records import write_text
from mindtune.serve.engine import deadline_s
from serve_export import read_config

TEMPLATES = Path(__file__).with_name("templates")


def variables(config: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """What the templates name. Paths are absolute: neither systemd nor a compute node knows where
    it was called from.
    """
    return {
        "repository": ROOT,
        "python": ROOT / ".venv/bin/python",
        "store": args.store.resolve(),
        "configfile": args.configfile.resolve() if args.configfile else None,
        "port": args.port,
        "user": args.user,
        "key_file": args.key_file.resolve(),
        "serve": config["serve"],
        # the check of every byte comes before the start, and reads at the same pace; the
        # signature's reads once more
        "deadline": round(
            (3 if config["export"]["public_key"] else 2)
            * deadline_s(config["serve"], args.store / "current")
        ),
        "gpu": config["device"] == "gpu",
    }


def render(template: Path, values: dict[str, Any]) -> str:
    """A template's text with the values in their places."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,
    )
    return environment.from_string(template.read_text(encoding="utf-8")).render(values)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--store",
        required=True,
        type=Path,
        help="folder of activate_export.py; `current` is served",
    )
    parser.add_argument(
        "--configfile", type=Path, help="laid over config/config.yaml, as for the workflow"
    )
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--user", required=True, help="account that the units run as")
    parser.add_argument("--key-file", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="folder to write to")
    args = parser.parse_args()
    if not (args.store / "current" / "config.json").is_file():
        raise UserError(
            f"{args.store}/current is no export; put one there with activate_export.py first"
        )
    values = variables(read_config(args.configfile), args)
    if any(" " in str(values[name]) for name in ("repository", "store", "key_file")):
        raise UserError(
            f"one of {ROOT}, {args.store}, {args.key_file} has a space in it, which units cannot "
            f"name; move it"
        )
    for template in sorted(TEMPLATES.glob("*.j2")):
        write_text(args.out / template.stem, render(template, values))
        print(args.out / template.stem)


if __name__ == "__main__":
    raise SystemExit(run(main))
