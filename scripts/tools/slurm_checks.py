"""What of a SLURM profile does not fit a cluster, and the lines to change."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tools.slurm_cluster import Cluster, Partition

# The largest requests of rules/*.smk: train_lora on a GPU
MEMORY_MB, THREADS = 96000, 8


# Snakemake's plugin looks at a running job every 180 s at the latest, and needs to see it once
# after its end
LOOK_S = 180


MODEL_NAME = re.compile(r"[A-Za-z0-9_.]+")


@dataclass(frozen=True)
class Finding:
    """Something that does not fit: why, and the lines to change. A note stops nothing."""

    why: str
    change: str
    note: bool = False


def check_partition(name: str, limits: Mapping[str, Any], cluster: Cluster) -> Iterator[Finding]:
    """One partition of partitions.yaml against the cluster's."""
    gpu = limits.get("max_gpu", 0) > 0
    real = cluster.partitions.get(name)
    if real is None:
        fitting = [
            other.name for other in cluster.partitions.values() if bool(other.gpus) == gpu
        ] or sorted(cluster.partitions)
        yield Finding(
            f"partition {name} does not exist here; there are "
            f"{', '.join(sorted(cluster.partitions))}",
            f"{fitting[0]}:   # was {name}:",
        )
        return
    if real.minutes is not None and limits.get("max_runtime", 0) > real.minutes:
        yield Finding(
            f"partition {name} ends jobs after {real.minutes} minutes",
            f"{name}: max_runtime: {real.minutes}",
        )
    if not real.usable_nodes:
        yield Finding(
            f"no node of partition {name} can take jobs now (down or drained)",
            "nothing; ask when it comes back",
            note=True,
        )
    yield from check_preemption(real, cluster)
    if not gpu:
        return
    if real.cpus < THREADS or real.memory_mb < MEMORY_MB:
        yield Finding(
            f"nodes of {name} have {real.cpus} CPUs and {real.memory_mb} MB, and train_lora asks "
            f"for {THREADS} and {MEMORY_MB}",
            f"set-resources: train_lora: mem_mb: {min(real.memory_mb, MEMORY_MB)}; set-threads: "
            f"train_lora: {min(real.cpus, THREADS)}",
        )
    yield from check_gpus(name, limits, real)


def check_preemption(real: Partition, cluster: Cluster) -> Iterator[Finding]:
    """Whether the jobs of a partition may be taken away for good."""
    mode = real.preempt_mode or cluster.settings.get("PreemptMode", "")
    if "CANCEL" in real.preempt_mode or mode.startswith("CANCEL"):
        yield Finding(
            f"partition {real.name} has PreemptMode=CANCEL: Snakemake would wait for a preempted "
            f"job without end",
            f"use a partition or QOS that is not preempted in place of {real.name}, or watch for "
            f"preempted jobs (README.md)",
        )


def check_gpus(name: str, limits: Mapping[str, Any], real: Partition) -> Iterator[Finding]:
    """GPU models and counts of a partition that should have some."""
    if not real.gpus:
        yield Finding(f"partition {name} has no GPUs", f"{name}: max_gpu: 0")
        return
    if limits["max_gpu"] > sum(real.gpus.values()):
        yield Finding(
            f"a node of {name} has {sum(real.gpus.values())} GPUs",
            f"{name}: max_gpu: {sum(real.gpus.values())}",
        )
    for model in limits.get("available_gpu_models") or []:
        if model in real.gpus:
            continue
        named = sorted(other for other in real.gpus if other)
        if not named:
            yield Finding(
                f"SLURM names no GPU models in {name}, so none can be asked for",
                "set-resources: take gpu_model out of every rule; partitions.yaml: take "
                "available_gpu_models out",
            )
        else:
            yield Finding(
                f"the GPUs of {name} are called {', '.join(named)}, not {model}",
                f"{name}: available_gpu_models: [{', '.join(named)}]; set-resources: gpu_model: "
                f"{named[0]}",
            )
    for model in real.gpus:
        if model and not MODEL_NAME.fullmatch(model):
            yield Finding(
                f"Snakemake's plugin refuses the name {model} as a gpu_model",
                f'set-resources: {{ gpu: 0, gres: "gpu:1" }} and a constraint in place of '
                f"gpu_model ({name})",
            )


def check_models(profile: Mapping[str, Any], partitions: Mapping[str, Any]) -> Iterator[Finding]:
    """Every model that a rule asks for is offered by a partition of partitions.yaml."""
    offered = {
        model
        for limits in partitions.values()
        for model in limits.get("available_gpu_models") or []
    }
    for rule, resources in sorted(profile.get("set-resources", {}).items()):
        model = resources.get("gpu_model")
        if model and offered and model not in offered:
            yield Finding(
                f"{rule} asks for a {model}, and partitions.yaml offers "
                f"{', '.join(sorted(offered))}",
                f"set-resources: {rule}: gpu_model: {sorted(offered)[0]}",
            )


def check_settings(profile: Mapping[str, Any], cluster: Cluster) -> Iterator[Finding]:
    """How long ended jobs stay visible, and how their state is asked for."""
    age = int(re.match(r"\d+", cluster.settings.get("MinJobAge", "300")).group())
    status = profile.get("slurm-status-command")
    if status != "squeue":
        yield Finding(
            "sacct prints `CANCELLED by <uid>`, for which the plugin waits without end",
            "slurm-status-command: squeue",
        )
    elif age <= LOOK_S:
        yield Finding(
            f"ended jobs leave squeue after MinJobAge = {age} s, and Snakemake looks every "
            f"{LOOK_S} s: it would wait for them without end",
            "ask the administrators for MinJobAge=300 or more; with slurm-status-command: sacct, "
            "never scancel a job by hand",
        )


def check_account(profile: Mapping[str, Any], cluster: Cluster) -> Iterator[Finding]:
    """The account and the QOS exist, and are given where they have to be."""
    defaults = profile.get("default-resources", {})
    account, qos = defaults.get("slurm_account"), defaults.get("qos")
    enforced = "associations" in cluster.settings.get("AccountingStorageEnforce", "")
    if cluster.accounts is None:
        if enforced:
            yield Finding(
                "jobs need an account here, and sacctmgr does not say which you have",
                "default-resources: slurm_account: YOUR_ACCOUNT",
            )
        return
    if account and account not in cluster.accounts:
        yield Finding(
            f"you have no account {account}",
            f"default-resources: slurm_account: "
            f"{min(cluster.accounts, default='none: ask for one')}",
        )
    if not account and enforced:
        yield Finding(
            f"jobs need an account here; you have {', '.join(sorted(cluster.accounts)) or 'none'}",
            f"default-resources: slurm_account: {min(cluster.accounts, default='ask for one')}",
        )
    known = set().union(*cluster.accounts.values())
    if qos and qos not in known:
        yield Finding(
            f"you have no QOS {qos}",
            f"default-resources: qos: {min(known, default='take the line out')}",
        )


def examine(
    profile: Mapping[str, Any], partitions: Mapping[str, Any], cluster: Cluster
) -> list[Finding]:
    """Everything that does not fit."""
    findings = [
        finding
        for name, limits in partitions.items()
        for finding in check_partition(name, limits, cluster)
    ]
    findings += check_models(profile, partitions)
    findings += check_settings(profile, cluster)
    findings += check_account(profile, cluster)
    return findings
