"""What somebody edits while a job waits in the queue does not reach the job, or stops it with a
sentence: on a real SLURM.
"""

import base64
import json
import shutil
import time

import chain
import cluster as slurm_cluster
import pytest
from chain import TRAINED, Chain, group, undisturbed, wait_for
from jobs import ON_GPU, PROFILE, QUICK, jobs, slurm

ADAPTER = "results/runs/main/adapter/adapter_model.safetensors"
CALL = ["--profile", PROFILE, *QUICK, "--retries", "0", *ON_GPU]


class Drained:
    """The node takes no job while the block runs."""

    def __enter__(self):
        self.host = slurm("sinfo", "-h", "-p", "gpu", "-o", "%n").strip()
        slurm("scontrol", "update", f"nodename={self.host}", "state=drain", "reason=test")

    def __exit__(self, *_):
        slurm("scontrol", "update", f"nodename={self.host}", "state=resume")
        wait_for(
            lambda: slurm_cluster.state() in ("idle", "mixed", "allocated"),
            60,
            "the node does not come back",
        )


def while_it_waits(made: Chain, target: str, rule: str, edit, *more: str) -> int:
    """Start, edit while the rule's job waits for a node, and return Snakemake's exit status."""
    before = len(jobs(made, rule=rule))
    with Drained():
        controller = made.start(*CALL, *more, "--", target)
        try:
            wait_for(
                lambda: (
                    len(jobs(made, rule=rule)) > before
                    and jobs(made, rule=rule)[-1].state == "PENDING"
                ),
                180,
                lambda: made.log("snakemake.log")[-3000:],
            )
            edit()
        except BaseException:
            controller.kill()
            raise
    with group(controller):
        return controller.wait(timeout=600)


def noted(made: Chain, output: str) -> dict:
    """What Snakemake noted about an output."""
    for path in (made.work / ".snakemake/metadata").rglob("*"):
        if (
            path.is_file()
            and base64.b64decode(path.name.replace("@", "")).decode(errors="replace") == output
        ):
            return json.loads(path.read_text())
    raise AssertionError(f"nothing is noted about {output}")


def test_a_waiting_training_takes_the_configuration_of_its_start(cluster):
    undisturbed()
    made = chain.template().copy("edited-config")
    planned = chain.read(undisturbed().work / TRAINED)["params"]["learning_rate"]

    def edit():
        made.configure(train={"learning_rate": 5e-3})
        # a start in between, with the other configuration, in the same folder
        assert made.run("--profile", PROFILE, "-n", "--", TRAINED).returncode == 0

    assert while_it_waits(made, TRAINED, "train_lora", edit) == 0, made.log("snakemake.log")[-4000:]
    assert chain.read(made.work / TRAINED)["params"]["learning_rate"] == planned != 5e-3
    assert f'"learning_rate": {planned}' in json.dumps(noted(made, TRAINED)["params"]).replace(
        '\\"', '"'
    )
    assert chain.sha256_file(made.work / ADAPTER) == chain.sha256_file(undisturbed().work / ADAPTER)
    again = made.run("--profile", PROFILE, "-n", *ON_GPU, "--", TRAINED)
    assert "train_lora" in again.stdout and again.returncode == 0, again.stdout[-3000:]
    made.configure()
    again = made.run("--profile", PROFILE, "-n", *ON_GPU, "--", TRAINED)
    assert "Nothing to be done" in again.stdout, again.stdout[-3000:]


@pytest.fixture(scope="module")
def clone():
    """A repository to edit, and a folder that works with it."""
    root = chain.clone("edited-clone")
    return Chain("edited-clone-work", root=root)


def append(made: Chain, name: str, text: str = '\nCHANGED = "改了一行"\n'):
    """Put text at the end of a file of the clone."""
    path = made.root / name
    path.write_bytes(path.read_bytes() + text.encode())


CLEAN, SPLIT = "results/data/demo/clean.jsonl", "results/data/demo/train.jsonl"


def test_a_waiting_cleaning_is_noted_as_it_was_done(cluster, clone):
    record = "results/data/demo/clean_dialogues.json"

    def edit():
        clone.configure(data={"clean": {**chain.DATA["clean"], "min_turns": 3}})

    assert while_it_waits(clone, CLEAN, "clean_dialogues", edit) == 0, clone.log("snakemake.log")[
        -4000:
    ]
    assert chain.read(clone.work / record)["params"]["min_turns"] == 2
    assert '"min_turns": 2' in json.dumps(noted(clone, record)["params"]).replace('\\"', '"')
    assert "clean_dialogues" in clone.run("--profile", PROFILE, "-n", "--", CLEAN).stdout
    clone.configure()
    assert "Nothing to be done" in clone.run("--profile", PROFILE, "-n", "--", CLEAN).stdout
    shutil.rmtree(clone.work / "results/data")  # for the tests that follow


def test_edits_that_are_not_its_own_do_not_stop_a_job(cluster, clone):
    saved = {
        name: (clone.root / name).read_bytes() for name in ("config/config.yaml", "envs/core.lock")
    }

    def edit():
        append(clone, "config/config.yaml", "\ntrain: {{{ half an edit 改到一半\n")
        append(clone, "envs/core.lock")
        append(clone, "README.md")
        append(clone, "scripts/score_dialogue.py")
        clone.config.unlink()

    assert while_it_waits(clone, CLEAN, "clean_dialogues", edit) == 0, clone.log("snakemake.log")[
        -4000:
    ]
    for name, content in saved.items():
        (clone.root / name).write_bytes(content)
    clone.configure()
    again = clone.run("--profile", PROFILE, "-n", "--", CLEAN)
    assert "Nothing to be done" in again.stdout, again.stdout[-3000:]


@pytest.mark.parametrize(
    ("name", "log"),
    [
        ("scripts/mindtune/data/splitting.py", "logs/data/demo/split_dialogues.log"),
        ("rules/data.smk", "snakemake.log"),
    ],
)
def test_its_own_program_or_rules_stop_it(cluster, clone, name, log):
    if not (clone.work / CLEAN).exists():
        clone.finish(CLEAN)
    before = (clone.root / name).read_bytes()
    assert while_it_waits(clone, SPLIT, "split_dialogues", lambda: append(clone, name)) == 1
    (clone.root / name).write_bytes(before)
    assert f"{name} changed since the start of this job" in clone.log("snakemake.log")
    assert "Traceback" not in clone.log(log)
    assert not (clone.work / SPLIT).exists()


def test_a_start_that_is_removed_is_said(cluster, clone):
    if not (clone.work / CLEAN).exists():
        clone.finish(CLEAN)
    folder = clone.work / ".snakemake/mindtune"
    assert while_it_waits(clone, SPLIT, "split_dialogues", lambda: shutil.rmtree(folder)) == 1
    said = clone.log("snakemake.log")
    assert (
        ".snakemake/mindtune/" in said and "is gone, where the start of this job keeps" in said
    ), said[-3000:]
    time.sleep(1)
    clone.finish(SPLIT)
