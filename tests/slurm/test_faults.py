"""What goes wrong on a cluster, done to real jobs on a real SLURM; the scenarios mostly wait, so
they run side by side.
"""

import re
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from chain import undisturbed, wait_for
from scenarios import KEY, SCENARIOS, adapter_hash


@pytest.fixture(scope="module")
def scenarios(cluster) -> dict[str, Future]:
    undisturbed()
    with ThreadPoolExecutor(len(SCENARIOS)) as pool:
        yield {scenario.__name__: pool.submit(scenario, cluster) for scenario in SCENARIOS}


def test_jobs_ask_for_an_h100_on_the_gpu_partition(scenarios):
    seen = scenarios["job_faults"].result()
    assert seen["gpus"] == "gres:gpu:h100:1"
    assert {job.partition for job in seen["first jobs"].values()} == {"gpu"}


def test_a_key_in_the_environment_is_in_no_queue_and_no_file(scenarios):
    seen = scenarios["job_faults"].result()
    assert KEY not in seen["queue"]
    files = [path for path in seen["chain"].work.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_every_job_fault_ends_in_the_same_adapter(scenarios):
    seen = scenarios["job_faults"].result()
    assert seen["status"] == 0, seen["chain"].log("snakemake.log")[-5000:]
    assert set(seen["adapters"].values()) == {adapter_hash(undisturbed())}
    for run, log in seen["logs"].items():
        assert "going on from step" in log, f"{run} did not resume:\n{log[-2000:]}"


def test_a_failed_job_is_tried_again_and_one_over_its_limit_gets_a_longer_one(scenarios):
    attempts = scenarios["job_faults"].result()["attempts"]["failed_then_overtime"]
    assert [job.state for job in attempts] == ["FAILED", "TIMEOUT", "COMPLETED"]
    assert (attempts[0].limit, attempts[2].limit) == ("4:00:00", "12:00:00")


def test_a_cancelled_job_is_tried_again_and_a_requeued_one_keeps_its_number(scenarios):
    seen = scenarios["job_faults"].result()
    assert [job.state for job in seen["attempts"]["cancelled_then_requeued"]] == [
        "CANCELLED",
        "COMPLETED",
    ]
    assert seen["restarts"] == "1"


def test_a_preempted_job_keeps_its_number_and_resumes(scenarios):
    seen = scenarios["lost_controller"].result()
    assert (len(seen["attempts"]), seen["restarts"]) == (1, "1")
    assert "going on from step" in seen["resumed"]


def test_jobs_outlive_a_restart_of_slurmctld(scenarios):
    assert set(scenarios["job_faults"].result()["after restart"].values()) == {"RUNNING"}


def test_a_second_person_is_told_that_the_folder_is_in_use(scenarios):
    second = scenarios["job_faults"].result()["second person"]
    assert (
        second.returncode == 1 and "LockException" in second.stdout and "--unlock" in second.stdout
    )


def test_no_second_writer_beside_an_orphan(scenarios):
    seen = scenarios["lost_controller"].result()
    assert seen["orphan"].state == "RUNNING"
    assert seen["locked"].returncode == 1 and "--unlock" in seen["locked"].stdout
    assert seen["unlocked"].returncode == 0, seen["unlocked"].stdout
    assert seen["beside orphan"].returncode == 1
    assert re.search(
        r"in use by another trainer .*slurm_job " + seen["orphan"].id, seen["message"]
    ), seen["message"]
    assert seen["untouched"]


def test_the_orphans_work_is_used(scenarios):
    seen = scenarios["lost_controller"].result()
    assert seen["rerun"].returncode == 0, seen["rerun"].stdout[-4000:]
    assert seen["trained to the end"]
    assert "running:" not in seen["log"], "the rerun trained again"
    assert seen["adapter"] == adapter_hash(undisturbed())


def test_ctrl_c_takes_its_jobs_along_and_the_rerun_resumes(scenarios):
    seen = scenarios["interrupted_controller"].result()
    assert seen["ctrl-c status"] != 0
    assert not seen["locks"]
    assert "going on from step" in seen["log"]


def test_sigterm_lets_the_job_finish(scenarios):
    seen = scenarios["interrupted_controller"].result()
    assert "Will exit after finishing currently running jobs" in seen["said"]
    assert "Nothing to be done" in seen["again"].stdout, seen["again"].stdout[-3000:]
    assert seen["adapter"] == adapter_hash(undisturbed())


def test_nothing_is_left_running(scenarios):
    for scenario in SCENARIOS:
        made = scenarios[scenario.__name__].result()["chain"]
        wait_for(
            lambda made=made: not made.processes(),
            30,
            lambda made=made: f"left: {made.processes()}",
        )
