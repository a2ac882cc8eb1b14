"""Say whether a SLURM profile fits this cluster, and print the lines to change.

Reads   the profile (config.yaml, partitions.yaml), and what sinfo, scontrol and sacctmgr say;
        submits nothing
Writes  nothing. Exit status 0 if the profile fits, 1 if something has to change, 2 without a SLURM
"""

import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import argument_parser, run
from tools.slurm_checks import examine
from tools.slurm_cluster import read_cluster


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--profile", type=Path, required=True, help="the folder of the profile")
    folder = parser.parse_args().profile
    profile = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    partitions = yaml.safe_load(
        (folder / profile["slurm-partition-config"]).read_text(encoding="utf-8")
    )["partitions"]
    cluster = read_cluster()
    for real in cluster.partitions.values():
        gpus = (
            ", ".join(f"{count} x {model or 'unnamed'}" for model, count in real.gpus.items())
            or "none"
        )
        print(
            f"partition {real.name}: {real.usable_nodes} usable nodes, up to {real.cpus} CPUs, "
            f"{real.memory_mb} MB, GPUs a node: {gpus}"
        )
    findings = examine(profile, partitions, cluster)
    for finding in findings:
        print(
            f"{'note' if finding.note else 'DOES NOT FIT'}: {finding.why}\n    change: "
            f"{finding.change}"
        )
    if any(not finding.note for finding in findings):
        raise SystemExit(1)
    print(f"{folder} fits this cluster")


if __name__ == "__main__":
    raise SystemExit(run(main))
