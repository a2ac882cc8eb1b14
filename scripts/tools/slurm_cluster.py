"""What SLURM says about a cluster: its partitions, its settings, and the user's accounts."""

import getpass
import re
import shutil
import subprocess
from dataclasses import dataclass

from mindtune.cli import UserError

UNUSABLE = ("down", "drain", "fail", "inval", "maint", "unk")


@dataclass(frozen=True)
class Partition:
    """What SLURM says about a partition. `minutes` is None without a limit; `gpus` maps models to
    GPUs a node ("" without a type).
    """

    name: str
    minutes: int | None
    cpus: int
    memory_mb: int
    gpus: dict[str, int]
    usable_nodes: int
    preempt_mode: str


@dataclass(frozen=True)
class Cluster:
    """What SLURM says about itself; `accounts` maps the user's accounts to their QOS, None without
    a database.
    """

    partitions: dict[str, Partition]
    settings: dict[str, str]
    accounts: dict[str, set[str]] | None


def ask(*command: str) -> str:
    """Output of a SLURM command; a UserError if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise UserError(
            f"{command[0]} ended with status {done.returncode} "
            f"({done.stderr.strip().splitlines()[-1:] or ''}); "
            "run this on a login node of the cluster"
        )
    return done.stdout


def minutes(text: str) -> int | None:
    """SLURM's [days-]hours:minutes:seconds as minutes; None for no limit."""
    if not text[:1].isdigit():
        return None
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, mins = (
        (0, parts[0])
        if len(parts) <= 2 and not days
        else (parts[0], parts[1] if len(parts) > 1 else 0)
    )
    return (int(days or 0) * 24 + hours) * 60 + mins


def gpus_of(gres: str) -> dict[str, int]:
    """{model: count} from sinfo's `gpu:h100:8(S:0-1),gpu:a100:4`; the model is "" for `gpu:8`."""
    found = {}
    for model, count in re.findall(r"gpu(?::([^:,()]+(?=:)))?:(\d+)", gres):
        found[model] = max(found.get(model, 0), int(count))
    return found


def read_partitions() -> dict[str, Partition]:
    """All partitions, from sinfo and scontrol."""
    modes = {}
    for line in ask("scontrol", "show", "partition", "--oneliner").splitlines():
        fields = dict(word.partition("=")[::2] for word in line.split())
        modes[fields["PartitionName"]] = fields.get("PreemptMode", "")
    found: dict[str, Partition] = {}
    for line in ask("sinfo", "-h", "-e", "-o", "%R|%l|%c|%m|%G|%T|%D").splitlines():
        name, limit, cpus, memory, gres, state, nodes = line.split("|")
        usable = 0 if any(word in state for word in UNUSABLE) else int(nodes)
        old = found.get(name)
        found[name] = Partition(
            name,
            minutes(limit),
            max(int(cpus.rstrip("+")), old.cpus if old else 0),
            max(int(memory.rstrip("+")), old.memory_mb if old else 0),
            {**(old.gpus if old else {}), **gpus_of(gres)},
            usable + (old.usable_nodes if old else 0),
            modes.get(name, ""),
        )
    return found


def read_accounts() -> dict[str, set[str]] | None:
    """The user's accounts and their QOS; None where there is no accounting database."""
    if not shutil.which("sacctmgr"):
        return None
    command = [
        "sacctmgr",
        "-nP",
        "show",
        "assoc",
        "where",
        f"user={getpass.getuser()}",
        "format=account,qos",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0 or "not running" in done.stderr:
        return None
    accounts: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        account, _, qos = line.partition("|")
        accounts.setdefault(account, set()).update(name for name in qos.split(",") if name)
    return accounts


def read_cluster() -> Cluster:
    """Everything that the checks look at."""
    for program in ("sinfo", "scontrol", "sbatch", "srun", "squeue", "scancel"):
        if not shutil.which(program):
            raise UserError(
                f"{program} is not on the PATH; run this on a login node of the cluster"
            )
    settings = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", ask("scontrol", "show", "config"), re.M))
    return Cluster(read_partitions(), settings, read_accounts())
