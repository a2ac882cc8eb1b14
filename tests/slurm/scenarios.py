"""What goes wrong on a cluster, as one function a scenario, which returns what was seen."""

import os
import signal
import time

import chain
import cluster as slurm_cluster
from chain import TRAINED, Chain, group, undisturbed, wait_for
from jobs import ON_GPU, PROFILE, QUICK, clone_runs, detail, freeze, jobs, send, slurm

ADAPTER = "results/runs/{}/adapter/adapter_model.safetensors"


KEY = "planted-key-51d0e7"


# Two runs under one Snakemake; each is hit twice in the middle
RUNS = ["failed_then_overtime", "cancelled_then_requeued"]


def adapter_hash(made: Chain, run: str = "main") -> str:
    """SHA-256 of a run's adapter."""
    return chain.sha256_file(made.work / ADAPTER.format(run))


def call(*targets: str, retries: int = 2, partition: str = "") -> list[str]:
    """Arguments of a call on the cluster, which chooses the partition itself unless one is
    named.
    """
    place = [f"train_lora:slurm_partition={partition}"] if partition else []
    return [
        "--profile",
        PROFILE,
        *QUICK,
        "--retries",
        str(retries),
        *ON_GPU,
        *place,
        "--",
        *targets,
    ]


def end_and_requeue(made: Chain, host: str) -> str:
    """On a node that takes no more jobs, let one run into its time limit and requeue the other; the
    id of that one.
    """
    overtime, requeued = (jobs(made, run)[-1].id for run in RUNS)
    slurm("scontrol", "update", f"nodename={host}", "state=drain", "reason=test")
    slurm("scontrol", "update", f"JobId={overtime}", "TimeLimit=1")
    slurm("scontrol", "requeue", requeued)
    wait_for(
        lambda: detail(overtime, "JobState") == "TIMEOUT",
        150,
        "the time limit did not end the job",
    )
    wait_for(
        lambda: all(jobs(made, run)[-1].state == "PENDING" for run in RUNS),
        120,
        "no job waits for the drained node",
    )
    slurm("scontrol", "update", f"nodename={host}", "state=resume")
    return requeued


def job_faults(folder) -> dict:
    """A job fails and one is cancelled; then the node is drained, a job runs into its time limit
    and one is requeued.
    """
    made = chain.template().copy("job-faults")
    clone_runs(made, RUNS)
    failing, cancelled = RUNS
    host = slurm("sinfo", "-h", "-p", "gpu", "-o", "%n").strip()
    seen: dict = {"chain": made}
    targets = [ADAPTER.format(run).rpartition("/")[0] for run in RUNS]
    with group(made.start(*call(*targets), SWANLAB_API_KEY=KEY)) as controller:
        steps = {run: freeze(made, run) for run in RUNS}
        seen["second person"] = made.run(*call(targets[0]))
        seen["first jobs"] = {run: jobs(made, run)[-1] for run in RUNS}
        seen["queue"] = slurm("squeue", "-t", "all", "-o", "%all") + slurm(
            "scontrol", "show", "job", "--details"
        )
        seen["gpus"] = detail(seen["first jobs"][failing].id, "TresPerJob")

        # the controller of the cluster goes away and comes back; jobs and Snakemake live on
        slurm_cluster.stop(folder, "slurmctld")
        time.sleep(2)
        slurm_cluster.start(folder, "slurmctld")
        wait_for(lambda: slurm_cluster.state() != "", 30, "slurmctld did not come back")
        seen["after restart"] = {run: jobs(made, run)[-1].state for run in RUNS}

        send(made, failing, signal.SIGKILL)
        slurm("scancel", seen["first jobs"][cancelled].id)
        for run in RUNS:
            freeze(made, run, after=steps[run])
        requeued = end_and_requeue(made, host)
        seen["status"] = controller.wait(timeout=900)
    seen["attempts"] = {run: jobs(made, run) for run in RUNS}
    seen["adapters"] = {run: adapter_hash(made, run) for run in RUNS}
    seen["restarts"] = detail(requeued, "Restarts")
    seen["logs"] = {run: made.log(f"logs/runs/{run}/train_lora.log") for run in RUNS}
    return seen


def preempt(victim: str) -> list[str]:
    """Take a job's GPU: one more urgent job a GPU, until there is none left but the victim's;
    return their numbers.
    """
    urgent: list[str] = []
    command = [
        "sbatch",
        "--parsable",
        "-p",
        "gpu",
        "--gpus=1",
        "-n",
        "1",
        "--mem=100",
        "-o",
        "/dev/null",
    ]
    while detail(victim, "Restarts") == "0":
        assert len(urgent) < slurm_cluster.GPUS, "nothing was preempted"
        urgent.append(slurm(*command, "--wrap", "sleep 600").strip())
        wait_for(
            lambda: detail(urgent[-1], "JobState") == "RUNNING",
            150,
            "the urgent job does not start",
        )
    return urgent


def lost_controller(folder) -> dict:
    """A job is preempted; then kill -9 of Snakemake while it trains, a rerun while the orphan
    still works, a rerun after it.
    """
    made = chain.template().copy("lost-controller")
    seen: dict = {"chain": made}
    with group(made.start(*call(TRAINED, partition="scavenge"))) as controller:
        step = freeze(made)
        victim = jobs(made)[-1].id
        urgent = preempt(victim)
        seen["waits"] = wait_for(
            lambda: detail(victim, "JobState") == "PENDING", 30, "the victim does not wait"
        )
        slurm("scancel", *urgent)
        freeze(made, after=step)
        os.killpg(controller.pid, signal.SIGKILL)
        controller.wait()
    seen["resumed"] = made.log("logs/runs/main/train_lora.log")
    seen["attempts"], seen["restarts"] = [job.id for job in jobs(made)], detail(victim, "Restarts")
    orphan = seen["orphan"] = jobs(made)[-1]
    seen["locked"] = made.run(*call(TRAINED))
    seen["unlocked"] = made.run("--profile", PROFILE, "--unlock", "--", TRAINED)
    before = state_times(made)
    seen["beside orphan"] = made.run(*call(TRAINED, retries=0))
    seen["message"] = made.log("logs/runs/main/train_lora.log")
    seen["untouched"] = before == state_times(made)
    send(made, "main", signal.SIGCONT)
    seen["orphan's end"] = wait_for(
        lambda: (state := detail(orphan.id, "JobState")) not in ("RUNNING", "COMPLETING") and state,
        600,
        "the orphan does not end",
    )
    seen["trained to the end"] = made.checkpoints() == undisturbed().checkpoints()
    seen["rerun"] = made.run(*call(TRAINED))
    seen["log"] = made.log("logs/runs/main/train_lora.log")
    seen["adapter"] = adapter_hash(made)
    return seen


def state_times(made: Chain) -> list[tuple[str, int]]:
    """When each file of the main run's state was last written."""
    return sorted(
        (str(path), path.stat().st_mtime_ns) for path in made.state().rglob("*") if path.is_file()
    )


def interrupted_controller(folder) -> dict:
    """Ctrl-C in the middle of a training, then a rerun that gets SIGTERM, then a rerun with
    nothing to do.
    """
    made = chain.template().copy("interrupted-controller")
    seen: dict = {"chain": made}
    with group(made.start(*call(TRAINED))) as controller:
        freeze(made)
        os.kill(controller.pid, signal.SIGINT)
        seen["ctrl-c status"] = controller.wait(timeout=120)
    wait_for(
        lambda: jobs(made)[-1].state == "CANCELLED",
        60,
        lambda: f"the job is {jobs(made)[-1].state}",
    )
    seen["locks"] = list((made.work / ".snakemake/locks").glob("*"))
    before = max(made.checkpoints())
    with group(made.start(*call(TRAINED), log="second.log")) as controller:
        freeze(made, after=before)
        os.kill(controller.pid, signal.SIGTERM)
        time.sleep(2)
        send(made, "main", signal.SIGCONT)
        seen["sigterm status"] = controller.wait(timeout=900)
    seen["said"] = made.log("second.log")
    seen["log"] = made.log("logs/runs/main/train_lora.log")
    seen["again"] = made.run("--profile", PROFILE, "-n", *ON_GPU, "--", TRAINED)
    seen["adapter"] = adapter_hash(made)
    return seen


SCENARIOS = (job_faults, lost_controller, interrupted_controller)
