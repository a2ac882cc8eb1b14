"""What a plan would take, from what was measured before."""

import json
from pathlib import Path

import pytest
from mindtune.audit.dag import Job, Plan
from mindtune.audit.estimate import CPU, Estimate, estimate_lines, estimates, span
from mindtune.records import write_json

SETTINGS = {
    "seed": 42, "epochs": 1, "method": "lora", "dtype": "float32", "base_precision": "bf16",
    "kernels": "fast", "gpus": 1,
    "gradient_checkpointing": False, "max_length": 768,
}  # fmt: skip
CONFIG = {
    "device": "cpu",
    "train": SETTINGS,
    "runs": {"main": {"dataset": "d"}, "long": {"dataset": "d", "epochs": 3}},
}


def job(rule, needs=(), threads=1, gpus=0, needed=True, **wildcards):
    """A job that would run; its benchmark file is named after it."""
    name = "/".join([*wildcards.values(), rule])
    return Job(
        rule=rule, wildcards=wildcards, outputs=[f"results/{name}"], inputs=[], temporary=set(),
        benchmark=f"benchmarks/{name}.tsv", gpus=gpus, threads=threads, shell="", params={},
        needed=needed, needs={number: [] for number in needs},
    )  # fmt: skip


def measured(job, seconds, cpu=None):
    """What Snakemake leaves of a job that ran."""
    path = Path(job.benchmark)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tcpu_time\n{seconds}\t-\t{cpu or seconds}\n", encoding="utf-8")


def trained(run, tokens, step_seconds, **params):
    """What a training leaves: its record, and its observer's lines."""
    facts = {"tokens": tokens, "run_id": "k"}
    params = {**SETTINGS, "device": "cpu", **params}
    write_json(f"results/runs/{run}/train_lora.json", {"params": params, "facts": facts})
    lines = "".join(json.dumps({"step": n, "seconds": s}) + "\n" for n, s in step_seconds.items())
    Path(f"state/train/{run}/k").mkdir(parents=True)
    Path(f"state/train/{run}/k/steps.jsonl").write_text(lines + '{"st', encoding="utf-8")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train_plan(run):
    work = job("train_lora", run=run)
    return Plan(
        [Job(**{**vars(work), "benchmark": f"benchmarks/runs/{run}/train_lora.tsv"})], CONFIG
    )


def test_a_training_keeps_its_start_and_scales_its_steps_by_the_planned_tokens():
    measured(train_plan("main").jobs[0], 100.0, 50.0)
    trained("main", 1000, {1: 30.0, 2: 30.0})
    stats = {"params": {"max_length": 768}, "facts": {"tokens": 1000}}
    write_json("results/runs/main/pack_stats.json", stats)
    [found] = estimates(train_plan("long"))
    assert found.seconds == pytest.approx(40 + 3 * 60)
    assert "3,000 tokens, 3.00 times the training of main" in found.why
    [cpu] = estimates(train_plan("long"), CPU)
    assert cpu.seconds == pytest.approx((40 + 3 * 60) / 2)


@pytest.mark.parametrize("other", [{"method": "qlora"}, {"device": "gpu"}, {"max_length": 512}])
def test_a_training_of_another_kind_says_nothing(other):
    measured(train_plan("main").jobs[0], 100.0)
    trained("main", 1000, {1: 60.0}, **other)
    write_json("results/runs/main/pack_stats.json",
               {"params": {"max_length": 768}, "facts": {"tokens": 1000}})  # fmt: skip
    [found] = estimates(train_plan("long"))
    assert found.seconds is None
    assert "no job like them ended here: train_lora" in estimate_lines(train_plan("long"), 2, 1)[-1]


def test_a_job_that_never_ran_counts_as_those_of_its_suite():
    jobs = [
        job("score", needed=False, run="main", suite="a"),
        job("score", needed=False, run="main", suite="b"),
        job("score", run="new", suite="b"),
        job("score", run="new", suite="c"),
        job("score", run="main", suite="d"),
    ]
    for done, seconds in zip((*jobs[:2], jobs[4]), (10.0, 20.0, 6.0), strict=True):
        measured(done, seconds)
    assert [e.seconds for e in estimates(Plan(jobs, CONFIG))] == [20.0, 12.0, 6.0]


def simulated(jobs, seconds, cores, gpus=1):
    found = [Estimate(job, took, "") for job, took in zip(jobs, seconds, strict=True)]
    return span(Plan(jobs, CONFIG), found, cores, gpus)


def test_jobs_wait_for_others_and_for_cores():
    chain = [job("a"), job("b", [0]), job("c", [0]), job("d", [1, 2])]
    assert simulated(chain, [1, 2, 3, 4], cores=1) == 10
    assert simulated(chain, [1, 2, 3, 4], cores=2) == 8
    wide = [job("a", threads=8), job("b", threads=8)]
    assert simulated(wide, [5, 5], cores=8) == 10 and simulated(wide, [5, 5], cores=16) == 5


def test_gpus_are_held_one_at_a_time_and_the_longest_way_goes_first():
    cards = [job("a", gpus=1), job("b", gpus=1), job("c")]
    assert simulated(cards, [4, 4, 6], cores=8) == 8
    assert simulated(cards, [4, 4, 6], cores=8, gpus=2) == 6
    late = [job("x"), job("a"), job("b", [1])]
    assert simulated(late, [3, 3, 3], cores=2) == 6


def test_nothing_to_do_takes_no_time():
    assert estimate_lines(Plan([job("a", needed=False)], CONFIG), 2, 1) == [
        "Nothing would run, so it takes no time."
    ]
