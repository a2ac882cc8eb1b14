"""A real SLURM on this machine, for tests: one node, fake H100s, no systemd, cgroups, database.

    python tests/slurm/cluster.py up FOLDER        prints the PATH to export
    python tests/slurm/cluster.py down FOLDER

It installs slurm-wlm and munge where they are missing. Everything lies in FOLDER (configuration,
munge key and socket, state, logs, pid files), and the daemons listen on ports of their own, so that
a SLURM which this machine may belong to is not touched. Needs root, as slurmd does.
"""

import argparse
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd", "munged")
PACKAGES = ("slurm-wlm", "munge")
CLIENTS = (
    *("sbatch", "srun", "squeue", "scancel", "scontrol"),
    *("sinfo", "sacctmgr", "sacct", "sshare"),
)
GPUS, CPUS = 8, 32  # as the cluster shall believe; the jobs share the real cores

CONF = Path(__file__).with_name("slurm.conf.in").read_text(encoding="utf-8")


class Unavailable(Exception):
    """Why there can be no cluster here."""


def install() -> None:
    """Install SLURM and munge unless they are here; only root can."""
    if os.geteuid() != 0:
        raise Unavailable(
            "slurmd needs root; run the SLURM tests as root, in a container or on a throw-away "
            "machine"
        )
    if all(shutil.which(program) for program in (*DAEMONS, "sbatch")):
        return
    if not shutil.which("apt-get"):
        raise Unavailable(
            f"{' and '.join(PACKAGES)} are not installed, and there is no apt-get to install them "
            f"with"
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["update", "-q"],
        ["install", "-y", "-q", "--no-install-recommends", *PACKAGES],
    ):
        done = subprocess.run(
            ["apt-get", *command], env=environment, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise Unavailable(
                f"apt-get {command[0]} ended with status {done.returncode}: "
                f"{done.stderr.strip()[-300:]}"
            )


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    probes = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def write_configuration(folder: Path) -> None:
    """slurm.conf, gres.conf, a munge key, and device files that are copies of the null device."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    ctld_port, d_port = free_ports(2)
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool", "munge", "dev", "bin"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    # the node promises more memory than it has: nothing is measured here, and a real profile's
    # requests have to fit
    (folder / "slurm.conf").write_text(
        CONF.format(
            folder=folder,
            host=host,
            ctld_port=ctld_port,
            d_port=d_port,
            cpus=CPUS,
            gpus=GPUS,
            memory=max(memory, 512_000),
        )
    )
    for number in range(GPUS):
        # slurm 22.05 refuses a count of devices without files
        subprocess.run(
            ["mknod", "-m", "666", folder / f"dev/gpu{number}", "c", "1", "3"], check=True
        )
    (folder / "gres.conf").write_text(
        f"NodeName={host} Name=gpu Type=h100 File={folder}/dev/gpu[0-{GPUS - 1}]\n"
    )
    # SLURM_CONF alone is not enough: Snakemake's plugin takes every SLURM_ variable out of a job's
    # environment
    for name in CLIENTS:
        client = folder / "bin" / name
        client.write_text(
            f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which(name)} "$@"\n'
        )
        client.chmod(0o755)
    key = folder / "munge/key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))


def start(folder: Path, name: str) -> None:
    """Start one daemon; it goes into the background itself."""
    munge = folder / "munge"
    commands = {
        "munged": [
            "munged", "--force", f"--key-file={munge}/key", f"--socket={munge}/socket",
            f"--pid-file={folder}/munged.pid",
            f"--log-file={munge}/log", f"--seed-file={munge}/seed",
        ],
        "slurmctld": ["slurmctld"],
        "slurmd": ["slurmd"],
    }  # fmt: skip
    with open(folder / "daemons.log", "ab") as log:
        # a session of its own, no terminal, none of the caller's pipes: it must outlive a caller
        # who waits for them to close
        subprocess.run(
            commands[name], env={**os.environ, "SLURM_CONF": str(folder / "slurm.conf")},
            stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True, check=True,
        )  # fmt: skip


def stop(folder: Path, name: str) -> None:
    """End one daemon by its pid file and wait until it is gone."""
    file = folder / f"{name}.pid"
    if not file.exists():
        return
    pid = int(file.read_text())
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.1)
        raise RuntimeError(f"{name} (process {pid}) did not end")
    file.unlink(missing_ok=True)


def state() -> str:
    """What sinfo says about the node, or nothing while the controller does not answer."""
    done = subprocess.run(
        ["sinfo", "-h", "-p", "gpu", "-o", "%T"], capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


def up(folder: Path) -> None:
    """Start the cluster and put its commands on this process's PATH; raises Unavailable where
    there can be none.
    """
    install()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # munged refuses a socket that others cannot reach
    write_configuration(folder)
    os.environ["PATH"] = f"{folder}/bin:{os.environ['PATH']}"
    for name in reversed(DAEMONS):
        start(folder, name)
    deadline = time.monotonic() + 30
    while state() != "idle":
        if time.monotonic() > deadline:
            logs = "\n".join(
                (folder / f"{name}.log").read_text()[-1000:] for name in ("slurmctld", "slurmd")
            )
            down(folder)
            raise Unavailable(f"the node did not become idle within 30 s:\n{logs}")
        time.sleep(0.2)


def down(folder: Path) -> None:
    """End all jobs, then stop the cluster; the daemons alone would leave the jobs running."""
    if (folder / "slurmctld.pid").exists():
        subprocess.run([folder / "bin/scancel", f"--user={getpass.getuser()}"], timeout=60)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            left = subprocess.run([folder / "bin/squeue", "-h"], capture_output=True, timeout=60)
            if not left.stdout.strip():
                break
            time.sleep(0.5)
    for name in DAEMONS:
        stop(folder, name)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("up", "down"))
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    if args.action == "down":
        down(args.folder.resolve())
        return 0
    try:
        up(args.folder.resolve())
    except Unavailable as reason:
        print(f"no SLURM here: {reason}")
        return 1
    print(f"export PATH={args.folder.resolve()}/bin:$PATH")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
