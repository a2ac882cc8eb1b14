"""
Shared functions and names; no rules.

The configuration is resolved here once: after this file, `config` is complete and consistent.
"""

import hashlib
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import sourcecache_entry
from snakemake.logging import logger

BASE = os.path.relpath(workflow.basedir)
SCRIPTS = os.path.normpath(os.path.join(BASE, "scripts"))
sys.path.insert(0, str(Path(workflow.basedir, "scripts")))

from mindtune.audit.folder import find_records, missing_notes
from mindtune.canaries import FILE as CANARIES
from mindtune.canaries import with_suite
from mindtune.cards import check_runs, count_cards
from mindtune.cli import UserError
from mindtune.code import code_hash, recall
from mindtune.config import (
    deciding_engine,
    exported_by_name,
    exported_dataset,
    read_files,
    read_schema,
    resolve,
    run_settings,
    serve_settings,
    to_param,
)
from mindtune.environments import serve_env, venvs_folder
from mindtune.erased import LIST as ERASED
from mindtune.erased import with_erased
from mindtune.evaluate.rubrics import TALKS as WHOLE_TALKS
from mindtune.evaluate.rubrics import chosen_rubrics
from mindtune.evaluate.suites import check_room, chosen_suites
from mindtune.identity import check_identity, recorded_pin, source_spec
from mindtune.made import keep_made
from mindtune.mixture import folder_of, is_mixture, parts_of, used_sets
from mindtune.source_files import (
    Contents,
    check_configured,
    check_name,
    check_source,
    files_below,
)
from mindtune.train.state import DECIDES_NOTHING
from mindtune.start import rule_files, start_path, start_text, take_start, write_start
from mindtune.variables import GROUPS, shell_prefix
from mindtune.variants import variants


def configured():
    """What the configuration files and --config say, read more strictly than by Snakemake."""
    settings = workflow.config_settings
    first = (
        [] if settings.replace_workflow_config else [Path(workflow.basedir, "config/config.yaml")]
    )
    return read_files([*first, *settings.configfiles], settings.config_args or [])


def configuration():
    """The resolved configuration of a call that somebody typed, after the checks of its folder."""
    given = configured()
    replace = given.pop("replace", None)
    if replace and "replace" not in workflow.config_settings.config:
        raise UserError(
            f"config key replace is {replace!r} in a file, where it would let every start replace "
            "what the folder holds; "
            f"remove it there and give it once, as --config replace={replace}"
        )
    resolved = with_erased(resolve(given, read_schema()), Path(BASE, ERASED))
    asked = with_suite(resolved["evaluate"], resolved["data"]["canaries"]["copies"])
    resolved["suites"] = chosen_suites(asked, Path(workflow.basedir))
    check_room(resolved["suites"], resolved["serve"]["session_len"])
    talks = resolved["evaluate"]["conversations"]["client"] != "none"
    resolved["rubrics"] = chosen_rubrics(
        resolved["judge"], resolved["suites"], talks, Path(workflow.basedir)
    )
    if workflow.is_main_process:
        check_configured(resolved, BASE)
        check_name(os.path.abspath(venvs_folder(BASE)))
        for note in missing_notes(find_records()):
            logger.warning(note)
        check_identity(resolved, Path("results"), replace)
    return resolved


def limit_cards():
    """As many jobs on a GPU as this machine has cards, unless --resources gpu=N was given; and if
    that is one, nobody asks the base while a training is prepared, which would wait for the card.
    """
    given = workflow.global_resources
    one_machine = workflow.resource_settings.nodes is None  # a cluster counts them itself
    if "gpu" not in given and one_machine:
        workflow.register_resource("gpu", max(1, count_cards()))
    if "gpu" in given and given["gpu"].value == 1:
        workflow.register_resource("preparing", NOTHING_PREPARED)
    if "gpu" in given and not STARTED:  # a start has been checked where it was made
        check_runs(config, given["gpu"].value)


# Of the resource `preparing`: a job that prepares a training takes 1, one that asks the base all.
# The latter are ready before a training is, and Snakemake does not wait for what is not ready
NOTHING_PREPARED = 10000
# Whose turn it is among jobs that are ready: a training and what it waits for, then its proof, then
# replies, which have yet to be scored; a check of serving is the last, because nothing waits for it
TRAINING_FIRST, PROOF_NEXT, THEN_REPLIES = 20, 10, 5

START = config.get("start")
# What earlier plans found in our own programs, by the hash of each file's bytes
LOOKED_THROUGH = Path(".snakemake/mindtune_code.json")
recall(LOOKED_THROUGH)

try:
    STARTED = take_start(config) if START else None
    config = STARTED["config"] if STARTED else configuration()
    ON_GPU = int(config["device"] == "gpu")
    if ON_GPU and workflow.is_main_process:
        limit_cards()
except UserError as error:
    raise WorkflowError(str(error)) from None

# dialogues are personal: what the rules write is for this account, or for its group as well
os.umask(0o027 if config["privacy"]["group_readable"] else 0o077)

RUNS = sorted(config["runs"])
EXPORT_RUN = exported_by_name(config)  # None: choose_run says which, once all are trained
CANDIDATES = [EXPORT_RUN] if EXPORT_RUN else RUNS
CHOICE = [] if EXPORT_RUN else ["results/choose_run.json"]
SMOKE = f"results/runs/{EXPORT_RUN}/smoke.json" if EXPORT_RUN else "results/smoke.json"
# Datasets that are fetched, cleaned and split; folders that runs train on (a mixture's is `a+b`)
SETS = used_sets(config)
USED_DATASETS = sorted({folder_of(config["runs"][run]) for run in RUNS})
MIXTURES = [folder for folder in USED_DATASETS if is_mixture(folder)]
ONE_SET, MIXTURE = "[A-Za-z0-9_-]+", ".+[+].+"
SUITES = sorted(config["suites"])
# the rubrics by which a judge scores replies; none without a judge
JUDGED = sorted(config["rubrics"])
SERVE_ENV = serve_env(config["serve"]["engine"])
CONTENTS = Contents(Path("state/sources.json"))


wildcard_constraints:
    dataset="[A-Za-z0-9_][A-Za-z0-9_+-]*",
    run="[A-Za-z0-9_][A-Za-z0-9_-]*",
    suite="|".join([*SUITES, *JUDGED]),


def named(place, name):
    """A file that no rule makes, by a name: what decides is its content, which stands in params."""
    return ancient(sourcecache_entry(place, name))


def place(path):
    """Where a file of the repository lies, from the working directory; an absolute path stays."""
    return os.path.normpath(os.path.join(BASE, path))


def at(path):
    """A file of the repository, or of the configuration, as an input. It must be there: Snakemake
    takes the outputs of a rule without one of its inputs for files that somebody else made.
    Whoever takes it gives its content to `code_hash` or `contents` too.
    """
    if workflow.is_main_process:
        try:
            check_source(place(path))
        except UserError as error:
            raise WorkflowError(str(error)) from None
    return named(place(path), path)


def contents(*paths):
    """SHA-256 of files that the configuration names, by the names that it gives them."""
    return as_json(**dict(zip(paths, CONTENTS.hashes(map(place, paths)))))


def contents_of(files):
    """The same of {name: place}, as `local_files` and its like give them."""
    return as_json(**dict(zip(files, CONTENTS.hashes(files.values()))))


def unseen(value):
    """A param that decides nothing of the outputs: Snakemake compares none that takes `input`."""
    return lambda wildcards, input: (value(wildcards) if callable(value) else value)


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
    """The folder in results/data that a run trains on: a dataset's, or a mixture's."""
    return folder_of(config["runs"][run])


def split_record(dataset):
    """The record of the stage that made train, dev and test of a folder in results/data."""
    stage = "mix_datasets" if is_mixture(dataset) else "split_dialogues"
    return f"results/data/{dataset}/{stage}.json"


def of_parts(dataset, name):
    """A file of every dataset of a folder in results/data."""
    return [f"results/data/{part}/{name}" for part in parts_of(dataset)]


def specs_of(dataset):
    """The configuration's entry of every dataset of a folder, as cards describe it."""
    return {part: described(config["datasets"][part]) for part in parts_of(dataset)}


def train_json(run, *keys, without=()):
    """Canonical JSON of a run's training settings: the given keys, or all of them but some."""
    settings = run_settings(config, run)
    return as_json(**{key: settings[key] for key in (keys or settings) if key not in without})


def engine_json(**over):
    """What a program needs to start the server; some of it replaced."""
    return as_json(**serve_settings(config) | over)


def engine_decides(**over):
    """Those of the settings of `engine_json` on which replies depend."""
    return as_json(**deciding_engine(serve_settings(config)) | over)


def local_files(spec):
    """{path as the configuration has it: place} of a local source's files; empty for a hub's."""
    if spec["source"] != "local":
        return {}
    start = place(spec["path"])
    try:
        files = files_below(start)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    # joined to the path of the configuration, and not to where that lies from here
    names = [os.path.join(spec["path"], os.path.relpath(file, start)) for file in files]
    return dict(zip(map(os.path.normpath, names), files))


def local_inputs(spec):
    """The files of a local source as inputs."""
    return [named(file, name) for name, file in local_files(spec).items()]


def source_json(spec, record):
    """What decides whether a source is fetched anew: which one it is, the bytes of a local one,
    and a checksum that its record has not met yet.
    """
    files = local_files(spec)
    return as_json(
        source=source_spec(spec),
        files=dict(zip(files, CONTENTS.hashes(files.values()))),
        erased=spec.get("erased", []),
        sha256=recorded_pin(spec, Path(record)),
    )


def but(spec, *keys):
    """A source's entry in the configuration without some of its keys."""
    return {key: value for key, value in spec.items() if key not in keys}


def fetched_as(spec):
    """A source's entry as its program gets it, without what is for cards and for the trainer."""
    return as_json(**but(spec, "licence", "fields", "type", "template"))


def described(spec):
    """What a card or a datasheet says of a source by the configuration alone."""
    return but(spec, "sha256", "fields", "type", "template")


def local_place(spec):
    """Where a local source lies as seen from the working directory; empty for a hub's."""
    return place(spec["path"]) if spec["source"] == "local" else ""


def rules_hash():
    """Hash of the Snakefile and of rules/: changes whenever the graph of the rules may."""
    base = Path(workflow.basedir)
    files = [base / "Snakefile", *sorted(base.glob("rules/*.smk"))]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]
