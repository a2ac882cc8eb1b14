"""Which configuration files a working directory was made with, for tools that plan it again."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from deploy.verify_archive import shown

from mindtune.cli import UserError
from mindtune.code import SCRIPTS
from mindtune.records import read_json

# The demo's base models, and the configuration that make demo takes for each
DEMOS = {"tiny": "config/demo.yaml", "smollm2": "config/demo-smollm2.yaml"}


def add_workdir(parser: argparse.ArgumentParser) -> None:
    """The flags --workdir and --configfile of a tool that plans."""
    parser.add_argument(
        "--workdir", type=Path, default=Path(), help="folder in which results/ lies"
    )
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[],
        help="the files that were given to Snakemake; a demo's are found",
    )


def configured_by(workdir: Path, given: Sequence[Path]) -> list[Path]:
    """Absolute paths of the files to lay over config/config.yaml: those given, or a demo's own."""
    if not workdir.is_dir():
        raise UserError(
            f"WORKDIR is {shown(workdir)}, which is no folder; give the folder in which results/ "
            f"lies"
        )
    for path in given:
        if not path.is_file():
            raise UserError(
                f"CONFIG is {shown(path)}, which is no file; give the configuration of that folder"
            )
    if given:
        return [path.resolve() for path in given]
    if (own := workdir / "config.json").is_file():  # make demo DATA=... writes it
        return [own.resolve()]
    record = workdir / "results/base/fetch_model.json"
    model = read_json(record).get("params", {}) if record.is_file() else {}
    demo = DEMOS.get(model.get("id", "")) if model.get("source") == "package" else None
    return [SCRIPTS.parent / demo] if demo else []


def below(workdir: Path, name: str) -> str:
    """A file as the rules name it, given as seen from here or from the working directory."""
    if (workdir / name).exists() or not Path(name).exists():
        return Path(os.path.normpath(name)).as_posix()
    return Path(os.path.relpath(name, workdir)).as_posix()
