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
from snakemake.logging import logger

BASE = os.path.relpath(workflow.basedir)
SCRIPTS = os.path.normpath(os.path.join(BASE, "scripts"))
sys.path.insert(0, str(Path(workflow.basedir, "scripts")))

from mindtune.cli import UserError
from mindtune.code import code_hash
from mindtune.config import resolve, run_settings
from mindtune.audit import find_records, missing_notes

try:
    config = resolve(
        config,
        yaml.safe_load(
            Path(workflow.basedir, "config/schema.yaml").read_text(encoding="utf-8")
        ),
    )
    if workflow.is_main_process:
        for note in missing_notes(find_records()):
            logger.warning(note)
except UserError as error:
    raise WorkflowError(str(error)) from None

RUNS = sorted(config["runs"])
EXPORT_RUN = config["export"]["run"]
USED_DATASETS = sorted({config["runs"][run]["dataset"] for run in RUNS})
PLUGIN = "plugins/mindtune_swift_plugin.py"
SUITES = ["dialogue"]
ON_GPU = int(config["train"]["device"] == "gpu")
SERVE_ENV = "serve" if config["serve"]["engine"] == "lmdeploy" else "train"


wildcard_constraints:
    dataset="[A-Za-z0-9_-]+",
    run="[A-Za-z0-9_-]+",
    suite="|".join(SUITES),


# Every job: UTF-8 whatever the node's locale, one thread per library unless a program says otherwise, no hub, no telemetry.
shell.prefix(
    "set -euo pipefail; export PYTHONUTF8=1 LC_ALL=C.UTF-8 PYTHONNOUSERSITE=1 PYTHONHASHSEED=0 OMP_NUM_THREADS=1 "
    "TOKENIZERS_PARALLELISM=false DO_NOT_TRACK=1 HF_HUB_DISABLE_TELEMETRY=1; "
)


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
