"""On one machine no more jobs use GPUs than it has; the real rules and the real scheduler, with
programs that only wait.

The environments are folders whose `python` notes when it starts and ends and makes the outputs it
is told to make. A machine without a driver counts as one with one card; the driver of a machine
with cards is a library that answers as NVML does.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
from planning import ROOT, Project

WAITS = """#!{python}
import json, pathlib, sys, time
words = sys.argv[1:]
started = time.time()
time.sleep(2)
with open({log!r}, "a") as stream:
    print(json.dumps([pathlib.Path(words[0]).stem, started, time.time()]), file=stream)
FILES = (
    "--replies", "--records", "--record", "--history", "--loss-figure", "--lengths-figure",
    "--fill-figure", "--smoke",
)
flag = ""
for word in words:
    flag = word if word.startswith("--") else flag
    if flag in ("--adapter", "--ordered") and word != flag:
        pathlib.Path(word).mkdir(parents=True, exist_ok=True)
    if flag in FILES and word != flag:
        pathlib.Path(word).write_text("{{}}")
"""
NVML = """
#include <stdlib.h>
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    strncpy(text, "580.0", size);
    return 0;
}
int nvmlSystemGetCudaDriverVersion_v2(int *number) { *number = 13000; return 0; }
int nvmlDeviceGetCount_v2(int *number) { *number = atoi(getenv("CARDS")); return 0; }
int nvmlDeviceGetHandleByIndex_v2(int index, void **card) { *card = 0; return 0; }
int nvmlDeviceGetName(void *card, char *text, unsigned size) {
    strncpy(text, "NVIDIA H100", size);
    return 0;
}
"""
GPU = {
    "device": "gpu",
    "train": {"attention": "flash_attention_4", "packing": True},
    "serve": {"engine": "lmdeploy"},
}
TARGETS = ["results/base/replies/demo/dialogue.json", "results/runs/main/train_lora.json"]


SERVED = ["results/runs/main/smoke.json", "results/runs/main/replies/dialogue.json"]
MERGED = ["results/runs/main/merge_adapter.json"]


class Machine:
    """A finished project for GPUs, on whose GPU rules' targets Snakemake can be called."""

    def __init__(self, folder):
        self.made, self.log, self.driver, self.venvs = (
            Project(folder),
            folder / "ran",
            folder / "driver",
            folder / "venvs",
        )
        for name in (
            "Snakefile",
            "rules",
            "scripts",
            "config",
            "envs",
            "resources",
            "profiles",
            "slurm-h100",
        ):
            self.made.root.mkdir(exist_ok=True)
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(
                ROOT / name, self.made.root / name
            )
        self.made.work.mkdir()
        self.made.edit.write_text(json.dumps(GPU))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MINDTUNE_VENVS", str(self.venvs))
            self.made.finish()
        for ready in self.venvs.glob("*/READY"):
            python = ready.parent / "bin/python"
            python.parent.mkdir()
            python.write_text(WAITS.format(python=sys.executable, log=str(self.log)))
            python.chmod(0o755)
        self.driver.mkdir()
        (self.driver / "nvml.c").write_text(NVML)
        command = ["gcc", "-shared", "-fPIC", "-o", "libnvidia-ml.so.1", "nvml.c"]
        subprocess.run(command, cwd=self.driver, check=True)

    def __call__(self, *arguments, cards=None, runs=None, targets=TARGETS, **extra):
        """(exit status, what it says, who ran from when to when) of a call on a machine with so
        many cards.
        """
        self.made.edit.write_text(json.dumps(GPU | ({"runs": runs} if runs else {})))
        environment = {
            key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"
        }
        environment |= {"MINDTUNE_VENVS": str(self.venvs), **extra}
        if cards is not None:
            environment |= {"LD_LIBRARY_PATH": str(self.driver), "CARDS": str(cards)}
        self.log.write_text("")
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *self.made.command()[:-3], *arguments, "--",
                *targets],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=self.made.root,
        )  # fmt: skip
        return (
            done.returncode,
            done.stdout,
            [json.loads(line) for line in self.log.read_text().splitlines()],
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    return Machine(tmp_path_factory.mktemp("cards"))


RUN = ["--cores", "16", "--forcerun", "generate_base_replies", "train_lora"]


def at_once(ran):
    """Whether two of them ran at the same time."""
    assert sorted(name for name, _, _ in ran) == ["generate_replies", "train_lora"], ran
    (_, _, end), (_, start, _) = sorted(ran, key=lambda job: job[1])
    return start < end


def test_without_a_driver_one_job_at_a_time(machine):
    status, said, ran = machine(*RUN)
    assert status == 0, said
    assert not at_once(ran), said


def test_resources_on_the_command_line_win(machine):
    status, said, ran = machine(*RUN, "--resources", "gpu=2")
    assert status == 0, said
    assert at_once(ran)


def test_cards_of_the_driver_count(machine):
    status, said, ran = machine(*RUN, cards=2)
    assert status == 0, said
    assert at_once(ran), said
    status, said, ran = machine(*RUN, cards=1)
    assert status == 0 and not at_once(ran), said
    status, said, ran = machine(*RUN, cards=8, CUDA_VISIBLE_DEVICES="5")
    assert status == 0 and not at_once(ran), said


def test_a_run_that_wants_more_cards_than_there_are_is_refused(machine):
    wide = {"main": {"dataset": "demo", "gpus": 4}}
    for extra in ({}, {"cards": 2}, {"cards": 8, "CUDA_VISIBLE_DEVICES": "0,3"}):
        status, said, ran = machine("--cores", "16", "-n", runs=wide, **extra)
        assert status == 1 and "run main has train.gpus 4" in said and "Traceback" not in said, said
        assert "--resources gpu=4" in said
    assert machine("--cores", "16", "-n", runs=wide, cards=4)[0] == 0
    assert machine("--cores", "16", "-n", "--resources", "gpu=4", runs=wide)[0] == 0
    status, said, _ = machine("--cores", "16", "-n", "--resources", "gpu=2", runs=wide, cards=8)
    assert status == 1 and "this machine has 2 to give" in said, said


def test_the_only_card_waits_for_a_training_that_is_being_prepared(machine):
    """Base replies could start at once; the training, two jobs later, has the card before them."""
    first = ["--cores", "16", "--forcerun", "order_dialogues", "generate_base_replies"]
    status, said, ran = machine(*first)
    assert status == 0, said
    began = {name: start for name, start, _ in ran}
    order = ["order_dialogues", "pack_stats", "train_lora", "generate_replies"]
    assert sorted(began, key=began.get) == order, said
    status, said, ran = machine(*first, cards=2)
    assert status == 0, said
    began = {name: start for name, start, _ in ran}
    assert began["generate_replies"] < began["pack_stats"], "the other card was left idle"


def test_replies_have_the_card_before_the_check_of_serving(machine):
    """Replies have yet to be scored, and nothing waits for the check."""
    status, said, ran = machine(
        "--cores", "16", "--forcerun", "generate_tuned_replies", "verify_serving", targets=SERVED
    )  # fmt: skip
    assert status == 0, said
    assert [name for name, _, _ in ran] == ["generate_replies", "verify_serving"], said


def test_a_merge_leaves_half_of_a_machine_to_others(machine):
    status, said, _ = machine("-n", "--cores", "16", "--forcerun", "merge_adapter", targets=MERGED)
    assert status == 0, said
    merge = said.partition("rule merge_adapter:")[2].partition("resources:")[0]
    assert "threads: 8" in merge, said


def test_what_looks_like_a_cluster_and_is_none_is_refused(machine):
    status, said, ran = machine(*RUN, "--jobs", "4")
    assert status == 1 and not ran and "nothing counts this machine's GPUs" in said, said
    assert machine(*RUN, "--jobs", "4", "--resources", "gpu=1")[0] == 0


def test_a_cluster_counts_for_itself(machine):
    """Nothing is limited by the cards of the login node, be there none or one."""
    for cards in (None, 1):
        status, said, _ = machine(
            "--profile", "slurm-h100", "-n", "--forcerun", "train_lora", cards=cards,
            runs={"main": {"dataset": "demo", "gpus": 4}}
        )  # fmt: skip
        assert status == 0 and "gpu=4" in said, said
