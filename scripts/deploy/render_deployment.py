"""Write what starts a server on its own: systemd units and a SLURM script, from the configuration
and the templates in deploy/.

Reads   the configuration, templates/*.j2
Writes  one file for each template, without .j2, into a folder
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from mindtune.environments import ROOT, venvs_folder
from mindtune.records import write_text
from mindtune.serve.engine import deadline_s
from serve_export import read_config

TEMPLATES = Path(__file__).with_name("templates")
# What means nothing to systemd or a shell
PLAIN = re.compile("[A-Za-z0-9_/@+][A-Za-z0-9._/@+-]*")


def check_plain(named: dict[str, object]) -> None:
    """A UserError for the first value that a unit or a script could read as more than a name."""
    for name, value in named.items():
        if not PLAIN.fullmatch(str(value)):
            raise UserError(
                f"{name} is {str(value)!r}; in units and scripts it may have letters, digits and "
                f"._/@+- only, and not begin with a sign: rename or move it"
            )


def variables(config: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """What the templates name. Paths are absolute: neither systemd nor a compute node knows where
    it was called from.
    """
    return {
        "repository": ROOT,
        "python": ROOT / ".venv/bin/python",
        "venvs": Path(venvs_folder()).resolve(),
        "store": args.store.resolve(),
        "configfile": args.configfile.resolve() if args.configfile else None,
        "port": args.port,
        "user": args.user,
        "key_file": args.key_file.resolve(),
        "serve": config["serve"],
        # the check of every byte comes before the start, and reads at the same pace; the
        # signature's reads once more
        "deadline": round(
            (3 if config["export"]["public_key"] or config["export"]["authority"] else 2)
            * deadline_s(config["serve"], args.store / "current")
        ),
        "gpu": config["device"] == "gpu",
    }


def templates() -> Any:
    """The environment that the templates are read in: a value that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,
    )


def main() -> None:
    parser = argument_parser(__doc__)
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
    if not 0 < args.port < 65536:
        raise UserError(f"--port is {args.port} and should lie between 1 and 65535")
    names = ("repository", "python", "venvs", "store", "user", "key_file")
    given = {"serve.model_name": values["serve"]["model_name"]}
    given |= {"configfile": values["configfile"]} if args.configfile else {}
    check_plain({name: values[name] for name in names} | given)
    environment = templates()
    for template in sorted(TEMPLATES.glob("*.j2")):
        write_text(args.out / template.stem, environment.get_template(template.name).render(values))
        print(args.out / template.stem)


if __name__ == "__main__":
    raise SystemExit(run(main))
