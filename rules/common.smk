"""
Shared functions and names; no rules.

Everything that depends on the configuration is resolved here once: after this file, `config` is complete and consistent.
"""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

BASE = os.path.relpath(workflow.basedir)
SCRIPTS = os.path.normpath(os.path.join(BASE, "scripts"))
sys.path.insert(0, str(Path(workflow.basedir, "scripts")))

from mindtune.cards import check_runs, count_cards
from mindtune.cli import UserError
from mindtune.code import code_hash
from mindtune.config import resolve, run_settings
from mindtune.identity import check_identity
from mindtune.records import check_records
from mindtune.start import rule_files, start_path, start_text, take_start, write_start


def configuration():
    """The resolved configuration of a call that somebody typed, after the checks of the folder that it is to work in."""
    replace = config.pop("replace", None)
    if replace and "replace" not in workflow.config_settings.config:
        raise UserError(
            f"config key replace is {replace!r} in a file, where it would let every start replace what the folder holds; "
            f"remove it there and give it once, as --config replace={replace}"
        )
    schema = Path(workflow.basedir, "config/schema.yaml").read_text(encoding="utf-8")
    resolved = resolve(config, yaml.safe_load(schema))
    if workflow.is_main_process:
        check_records(Path("results"))
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

RUNS = sorted(config["runs"])
EXPORT_RUN = config["export"]["run"]
USED_DATASETS = sorted({config["runs"][run]["dataset"] for run in RUNS})
PLUGIN = "plugins/mindtune_swift_plugin.py"
SUITES = ["dialogue"]
SERVE_ENV = "serve" if config["serve"]["engine"] == "lmdeploy" else "train"


wildcard_constraints:
    dataset="[A-Za-z0-9_-]+",
    run="[A-Za-z0-9_-]+",
    suite="|".join(SUITES),


def at(path):
    """Where a file of the repository lies as seen from the working directory; an absolute path stays as it is."""
    return os.path.normpath(os.path.join(BASE, path))


def lookup_key(path):
    """The configuration value at a path like 'train/lora/rank'."""
    value = config
    for key in path.split("/"):
        value = value[key]
    return value


def as_json(**values):
    """Canonical JSON of named values: equal settings give equal params.

    Braces inside texts are written as JSON escapes: Snakemake would take `{word}` in a param for a wildcard.
    """
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return re.sub(
        r'"(?:[^"\\]|\\.)*"',
        lambda match: match[0].replace("{", "\\u007b").replace("}", "\\u007d"),
        text,
    )


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


def local_path(spec):
    """A local source's path as seen from the working directory; empty for a hub's."""
    return at(spec["path"]) if spec["source"] == "local" else ""


def local_files(spec):
    """The files of a local source, so that an edit of one is seen; none if it is not there (the program then says so)."""
    path = local_path(spec)
    files = [Path(path)] if path and os.path.isfile(path) else []
    if path and os.path.isdir(path):
        files = sorted(file for file in Path(path).rglob("*") if file.is_file())
    for file in files:
        if "{" in str(file) or "}" in str(file):
            raise WorkflowError(
                f"{file} has braces in its path, which Snakemake takes for a wildcard; rename it"
            )
    return [str(file) for file in files]


def rules_hash():
    """Hash of the Snakefile and the files in rules/: changes whenever the graph of the rules may."""
    files = [
        Path(workflow.basedir, "Snakefile"),
        *sorted(Path(workflow.basedir, "rules").glob("*.smk")),
    ]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[
        :16
    ]
