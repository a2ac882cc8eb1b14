"""
Shared functions and names; no rules.

Everything that depends on the configuration is resolved here once: after this file, `config` is complete and consistent.
"""

import hashlib
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

BASE = os.path.relpath(workflow.basedir)
SCRIPTS = os.path.normpath(os.path.join(BASE, "scripts"))
sys.path.insert(0, str(Path(workflow.basedir, "scripts")))

from mindtune.audit.folder import find_records, missing_notes
from mindtune.cards import check_runs, count_cards
from mindtune.cli import UserError
from mindtune.code import code_hash
from mindtune.config import read_files, read_schema, resolve, run_settings, to_param
from mindtune.environments import venvs_folder
from mindtune.erased import LIST as ERASED
from mindtune.erased import with_erased
from mindtune.evaluate.suites import check_room, chosen_suites
from mindtune.identity import check_identity
from mindtune.source_files import (
    check_configured,
    check_name,
    check_source,
    files_below,
)
from mindtune.start import rule_files, start_path, start_text, take_start, write_start
from mindtune.variables import GROUPS, shell_prefix


def configured():
    """What the configuration files and --config say, read strictly, and not as Snakemake reads them."""
    settings = workflow.config_settings
    first = (
        []
        if settings.replace_workflow_config
        else [Path(workflow.basedir, "config/config.yaml")]
    )
    return read_files([*first, *settings.configfiles], settings.config_args or [])


def configuration():
    """The resolved configuration of a call that somebody typed, after the checks of the folder that it is to work in."""
    given = configured()
    replace = given.pop("replace", None)
    if replace and "replace" not in workflow.config_settings.config:
        raise UserError(
            f"config key replace is {replace!r} in a file, where it would let every start replace what the folder holds; "
            f"remove it there and give it once, as --config replace={replace}"
        )
    resolved = with_erased(resolve(given, read_schema()), Path(BASE, ERASED))
    resolved["suites"] = chosen_suites(resolved["evaluate"], Path(workflow.basedir))
    check_room(resolved["suites"], resolved["serve"]["session_len"])
    if workflow.is_main_process:
        check_configured(resolved, BASE)
        check_name(os.path.abspath(venvs_folder(BASE)))
        for note in missing_notes(find_records()):
            logger.warning(note)
        check_identity(resolved, Path("results"), replace)
    return resolved


def limit_cards():
    """On one machine as many jobs on a GPU as it has cards; a cluster counts them itself. Snakemake's --resources gpu=N wins."""
    given = workflow.global_resources
    if "gpu" not in given and workflow.resource_settings.nodes is None:
        workflow.register_resource("gpu", max(1, count_cards()))
    if "gpu" in given and not STARTED:  # a start has been checked where it was made
        check_runs(config, given["gpu"].value)


START = config.get("start")

try:
    STARTED = take_start(config) if START else None
    config = STARTED["config"] if STARTED else configuration()
    ON_GPU = int(config["train"]["device"] == "gpu")
    if ON_GPU and workflow.is_main_process:
        limit_cards()
except UserError as error:
    raise WorkflowError(str(error)) from None

# dialogues are personal: what the rules write is for this account, or for its group as well, and for nobody else
os.umask(0o027 if config["privacy"]["group_readable"] else 0o077)

RUNS = sorted(config["runs"])
EXPORT_RUN = config["export"]["run"]
USED_DATASETS = sorted({config["runs"][run]["dataset"] for run in RUNS})
SUITES = sorted(config["suites"])
SERVE_ENV = "serve" if config["serve"]["engine"] == "lmdeploy" else "train"


wildcard_constraints:
    dataset="[A-Za-z0-9_][A-Za-z0-9_-]*",
    run="[A-Za-z0-9_][A-Za-z0-9_-]*",
    suite="|".join(SUITES),


def at(path):
    """Where a file of the repository lies as seen from the working directory; an absolute path stays as it is.

    It must be there: Snakemake takes the outputs of a rule without one of its inputs for files that somebody else made.
    """
    place = os.path.normpath(os.path.join(BASE, path))
    if workflow.is_main_process:
        try:
            check_source(place)
        except UserError as error:
            raise WorkflowError(str(error)) from None
    return place


def lookup_key(path):
    """The configuration value at a path like 'train/lora/rank'."""
    value = config
    for key in path.split("/"):
        value = value[key]
    return value


def as_json(**values):
    """Canonical JSON of named values: equal settings give equal params."""
    return to_param(values)


def leaves_json(*paths):
    """Canonical JSON of single configuration values, each under the last word of its path."""
    return as_json(**{path.split("/")[-1]: lookup_key(path) for path in paths})


def dataset_of(run):
    """The dataset that a run trains on."""
    return config["runs"][run]["dataset"]


def train_json(run, *keys):
    """Canonical JSON of a run's training settings; of all of them, or of the given keys."""
    settings = run_settings(config, run)
    return as_json(**{key: settings[key] for key in (keys or settings)})


def source_of(spec):
    """What a dataset's entry says of its source; how its rows are read is another matter."""
    return {key: value for key, value in spec.items() if key != "fields"}


def local_path(spec):
    """A local source's path as seen from the working directory; empty for a hub's."""
    return at(spec["path"]) if spec["source"] == "local" else ""


def local_files(spec):
    """The files of a local source, so that an edit of one is seen."""
    path = local_path(spec)
    try:
        return files_below(path) if path else []
    except UserError as error:
        raise WorkflowError(str(error)) from None


def rules_hash():
    """Hash of the Snakefile and the files in rules/: changes whenever the graph of the rules may."""
    files = [
        Path(workflow.basedir, "Snakefile"),
        *sorted(Path(workflow.basedir, "rules").glob("*.smk")),
    ]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[
        :16
    ]
