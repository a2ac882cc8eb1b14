"""The command that people type: planned on a machine without SLURM, and run to its end on the test
cluster.
"""

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import chain
import pytest
import yaml
from bench.measuring import head
from chain import ROOT, environment, small, write_json
from cluster import CLIENTS
from jobs import slurm

COMMAND = ["--profile", "slurm-h100", "results/export"]
GPU_RULES = [
    *(
        "find_paraphrases",
        "generate_base_replies",
        "generate_baseline_replies",
        "generate_tuned_replies",
        "judge_replies",
        "measure_base_letters",
        "measure_perplexity",
    ),
    *("measure_tuned_letters", "simulate_base_conversations", "simulate_tuned_conversations"),
    *("train_lora", "verify_chosen_serving", "verify_serving"),
]
# A rule that is made from another, and takes its resources
TWIN = re.compile(r"^ *use rule (\w+) as (\w+) with:", re.MULTILINE)


@pytest.fixture(scope="module")
def clone() -> Path:
    return chain.clone("clone")


@pytest.fixture(scope="module")
def without_slurm(tmp_path_factory) -> str:
    """A PATH with the commands of this machine but SLURM's."""
    folder = tmp_path_factory.mktemp("bin")
    for program in [*Path("/usr/bin").iterdir(), *Path("/bin").iterdir()]:
        if program.name not in CLIENTS and not (folder / program.name).is_symlink():
            (folder / program.name).symlink_to(program)
    path = f"{Path(sys.executable).parent}:{folder}"
    assert not [name for name in CLIENTS if shutil.which(name, path=path)]
    return path


def snakemake(folder: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """The literal command and what follows it, typed in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *COMMAND, *arguments], cwd=folder,
        env=environment(**extra), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", timeout=1200,
    )  # fmt: skip


def test_it_is_planned_without_slurm(clone, without_slurm):
    """With the configuration that ships: Qwen2.5-7B on an H100."""
    done = snakemake(clone, "-n", PATH=without_slurm)
    assert done.returncode == 0, done.stdout[-3000:]
    training = done.stdout.partition("rule train_lora:")[2].partition("\n\n")[0]
    assert training, done.stdout[-3000:]
    assert "gpu=1" in training and "gpu_model=h100" in training and "runtime=240" in training


def test_every_rule_that_takes_a_gpu_says_which(clone):
    profile = yaml.safe_load((clone / "slurm-h100/config.yaml").read_text(encoding="utf-8"))
    asking, texts = [], [path.read_text(encoding="utf-8") for path in (clone / "rules").iterdir()]
    for block in (block for text in texts for block in re.split(r"\n *(?:use )?rule ", text)[1:]):
        if "gpu=" in block:
            asking.append(block.partition(":")[0].strip())
    asking += [twin for base, twin in TWIN.findall("".join(texts)) if base in asking]
    assert sorted(asking) == GPU_RULES
    assert {profile["set-resources"][rule].get("gpu_model") for rule in asking} == {"h100"}


def test_what_downloads_is_local(clone):
    """Compute nodes have no internet: fetching and building never becomes a job."""
    found = []
    for path in sorted((clone / "rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        found += [twin for base, twin in TWIN.findall(text) if base.startswith("fetch_")]
        for block in re.split(r"\n *(?:use )?rule\b", text)[1:]:
            if " as " in block.partition(":")[0]:
                continue  # it is as local as what it is made from
            name = re.search(r"(?:^ |name:\s+f?\")(\w+)", block)[1]
            if name.startswith(("fetch_", "build_env")):
                found.append(name)
                assert "localrule: True" in block, f"{name} would run on a compute node"
    fetching = [f"fetch_{what}" for what in ("dataset", "model", "suite", "tokenizer")]
    assert sorted(found) == ["build_env_", "build_env_", *fetching]


def test_readme_explains_every_key(clone):
    profile = yaml.safe_load((clone / "slurm-h100/config.yaml").read_text(encoding="utf-8"))
    text = (clone / "slurm-h100/README.md").read_text(encoding="utf-8")
    assert [key for key in profile if f"`{key}" not in text] == []


@pytest.mark.parametrize(
    ("request_", "seen"),
    [
        ("--gpus=h100:1", ("h100", 1)),
        ("--gres=gpu:h100:2", ("h100", 2)),
        ("--gpus=1", ("", 1)),
        ("--mem=10", ("", 0)),
    ],
)
def test_a_job_can_tell_which_cards_it_asked_for(cluster, request_, seen):
    """What the check on the node compares with the cards that NVML finds there."""
    program = "from mindtune.preflight import asked_for; print(asked_for())"
    said = slurm(
        "srun",
        "-p",
        "gpu",
        "-n",
        "1",
        "-D",
        str(ROOT / "scripts"),
        request_,
        sys.executable,
        "-c",
        program,
    )
    assert said == f"{seen}\n"


def test_the_literal_command_runs_the_demo(cluster, clone):
    """The one edit is a site's own, as slurm-h100/README.md describes it: the CPU demo's training
    asks for a GPU all the same.

    With MINDTUNE_RECORD it is the demo itself, and its time is recorded; else the demo made small,
    to save four minutes.
    """
    profile = clone / "slurm-h100/config.yaml"
    edited = profile.read_text(encoding="utf-8").replace(
        "train_lora: { gpu_model", "train_lora: { gpu: 1, gpu_model"
    )
    assert "gpu: 1" in edited
    profile.write_text(edited, encoding="utf-8")
    record, smaller = os.environ.get("MINDTUNE_RECORD"), []
    if not record:
        write_json(clone / "small.json", small())
        smaller = ["small.json"]
    start = time.monotonic()
    done = snakemake(clone, "--configfile", "config/demo.yaml", *smaller)
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stdout[-6000:]
    command = [sys.executable, "scripts/deploy/verify_export.py", "results/export"]
    assert subprocess.run(command, cwd=clone, capture_output=True).returncode == 0, done.stdout[
        -6000:
    ]
    lines = slurm("squeue", "-h", "-t", "all", "-o", "%i|%T|%k|%Z|%P|%j").splitlines()
    jobs = [line.split("|") for line in lines if line.split("|")[3] == str(clone)]
    assert {job[1] for job in jobs} == {"COMPLETED"}
    assert all(job[5].startswith("mindtune_") for job in jobs)
    where = {job[2].removeprefix("rule_").partition("_wildcards")[0]: job for job in jobs}
    assert where["train_lora"][4] == "gpu" and where["clean_dialogues"][4] == "cpu"
    assert "TresPerJob=gres:gpu:h100:1" in slurm("scontrol", "show", "job", where["train_lora"][0])
    assert not {"fetch_dataset", "publish_export"} & where.keys(), (
        "small rules run on the login node"
    )
    if record:
        write_json(ROOT / record, measurement(clone, seconds, len(jobs)))


def step_seconds(clone: Path) -> dict[str, float]:
    """How long the program of each step worked, as Snakemake measured it."""
    found = {}
    for path in sorted((clone / "benchmarks").rglob("*.tsv")):
        with open(path, encoding="utf-8", newline="") as stream:
            found[path.stem] = float(next(csv.DictReader(stream, delimiter="\t"))["s"])
    return found


def measurement(clone: Path, seconds: float, jobs: int) -> dict:
    """The record of one run: how long it took, and the share in which no program of ours worked."""
    steps = step_seconds(clone)
    work = sum(steps.values())
    overhead = max(0.0, 1 - work / seconds)
    return {
        **head(
            "snakemake --profile slurm-h100 results/export --configfile config/demo.yaml on the "
"test cluster, environments built",
            "MINDTUNE_RECORD=docs/records/slurm_demo.json pytest tests/slurm/test_profile.py -k "
"literal",
            ["snakemake", "snakemake-executor-plugin-slurm"],
        ),
        "columns": ["seconds", "slurm_jobs", "programs_s", "overhead_share"],
        "runs": [
            {"seconds": round(seconds, 1), "slurm_jobs": jobs, "programs_s": round(work, 1),
                "overhead_share": round(overhead, 2),
             "steps": [{"step": step, "s": round(value, 1)} for step, value in steps.items()]}
        ],
        "median": round(seconds, 1),
        "target": 360,
        "met": seconds <= 360,
        "note": f"Programs worked for {work:.0f} s, few of them side by side; Snakemake, SLURM and "
f"waiting took {overhead:.0%} of the time.",
    }  # fmt: skip
