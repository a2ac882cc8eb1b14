"""What goes wrong on one machine: disks, torn files, clocks, servers. After each the rerun gives
what an undisturbed run gives.
"""

# Kept long: one small disk and one chain are made for all of these tests.

import os
import re
import signal
import subprocess
import threading
import time
import warnings
from contextlib import contextmanager

import pytest
from chain import ROOT, Chain, group, read, template, undisturbed, wait_for
from mindtune.environments import interpreter

# stage -> the target that Snakemake is asked for; in this order each finds what the one before made
STAGES = {
    "fetch_dataset": "results/data/demo/fetch_dataset.json",
    "fetch_tokenizer": "results/base/fetch_tokenizer.json",
    "fetch_model": "results/base/fetch_model.json",
    "clean_dialogues": "results/data/demo/clean_dialogues.json",
    "split_dialogues": "results/data/demo/split_dialogues.json",
    "cache_dataset": "results/data/demo/cache_dataset.json",
    "order_dialogues": "results/runs/main/order_dialogues.json",
    "pack_stats": "results/runs/main/pack_stats.json",
    "train_lora": "results/runs/main/train_lora.json",
    "merge_adapter": "results/runs/main/merge_adapter.json",
    "verify_merge": "results/runs/main/verify.json",
    "export_model": "results/runs/main/export_model.json",
    "publish_export": "results/export.json",
}


class SmallDisk:
    """A file system of a few megabytes below a folder of a chain."""

    def __init__(self, folder, megabytes) -> None:
        self.folder, self.size = folder, f"size={megabytes}m"
        folder.mkdir(exist_ok=True)
        self.mount(self.size)

    def mount(self, options: str) -> None:
        """Mount it, or change how it is mounted."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder], check=True)

    @contextmanager
    def full(self):
        """No byte is left while the block runs."""
        filler = self.folder / ".filler"
        with open(filler, "wb", buffering=0) as stream:
            try:
                while stream.write(bytes(1 << 12)):
                    pass
            except OSError:
                pass
        try:
            yield
        finally:
            filler.unlink()

    @contextmanager
    def read_only(self):
        """Nothing can be written while the block runs."""
        self.mount("remount,ro")
        try:
            yield
        finally:
            self.mount(f"remount,rw,{self.size}")


@pytest.fixture(scope="module")
def disks():
    """A chain whose results and state lie on small disks of their own."""
    undisturbed()
    made = Chain("small-disks")
    try:
        mounted = [SmallDisk(made.work / "results", 24), SmallDisk(made.work / "state", 160)]
    except subprocess.CalledProcessError:
        warnings.warn("NO DISK WAS FILLED: only root can mount a tmpfs", stacklevel=1)
        pytest.skip("only root can mount a tmpfs")
    yield made, *mounted
    for disk in mounted:
        subprocess.run(["umount", "--lazy", disk.folder], check=True)


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_stops_the_stage_and_nothing_half_written_stays(disks, stage):
    made, results, _ = disks
    target = made.work / STAGES[stage]
    with results.full():
        done = made.run("--notemp", STAGES[stage])
    assert done.returncode == 1, done.stdout[-3000:]
    assert re.search("error: .*(No space left on device|bytes are free)", done.stdout), done.stdout[
        -3000:
    ]
    assert not target.exists()
    assert not list((made.work / "results").rglob("*.partial"))
    done = made.run("--notemp", STAGES[stage])
    assert done.returncode == 0, done.stdout[-3000:]


def test_after_all_full_disks_the_results_are_the_same(disks):
    made, *_ = disks
    found, expected = made.hashes(), undisturbed().hashes()
    assert {name: found.get(name) for name in expected} == expected


def test_a_disk_of_the_state_that_fills_up_stops_training_and_training_goes_on(disks):
    made, _, state = disks
    for name in ("train_lora.json", "history.csv"):
        (made.work / "results/runs/main" / name).unlink()
    subprocess.run(["rm", "-r", *(made.work / "state").iterdir()], check=True)
    with group(made.start("--notemp", STAGES["train_lora"])) as controller:
        wait_for(
            made.checkpoints, 300, lambda: f"no checkpoint: {made.log('snakemake.log')[-3000:]}"
        )
        with state.full():
            assert controller.wait(timeout=300) == 1
            said = made.log("snakemake.log")
            assert re.search("go on from the last checkpoint|No space left on device", said), said[
                -3000:
            ]
            done = made.run("--notemp", STAGES["train_lora"])
            assert done.returncode == 1 and "has 0 MiB free and this job needs" in done.stdout, (
                done.stdout[-3000:]
            )
    made.finish(STAGES["train_lora"])
    assert "going on from step" in made.log("logs/runs/main/train_lora.log")
    made.assert_converged()


def test_read_only_results_are_named(disks):
    made, results, _ = disks
    target = STAGES["publish_export"]
    (made.work / target).unlink(missing_ok=True)
    with results.read_only():
        done = made.run(target)
    # Snakemake's words if the export is there already, else the program's
    assert done.returncode == 1, done.stdout[-3000:]
    assert re.search("Write-protected output files|error: .*Read-only file system", done.stdout), (
        done.stdout[-3000:]
    )
    made.finish(target)
    made.assert_converged()


def truncate(path, share=0.5):
    """Cut a file off in the middle, as a copy or a crash does."""
    os.truncate(path, int(path.stat().st_size * share))


def test_a_truncated_shard_is_not_exported_and_is_seen_by_the_receiver():
    made = undisturbed().copy("truncated-shard")
    shard = next(made.work.glob("results/export/*.safetensors"))
    shard.write_bytes(shard.read_bytes())  # a file of its own: the export is hard links
    truncate(shard)
    done = subprocess.run(
        [interpreter("core"), ROOT / "scripts/deploy/verify_export.py", shard.parent],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and f"WRONG: {shard.name}: " in done.stderr

    # a merged shard that breaks between the merge and its proof
    for name in ("verify.json", "export_model.json", "merge_adapter.json"):
        (made.work / "results/runs/main" / name).unlink()
    done = made.run(STAGES["merge_adapter"])
    assert done.returncode == 0, done.stdout[-3000:]
    truncate(next(made.work.glob("results/runs/main/merged/*.safetensors")))
    done = made.run(STAGES["verify_merge"])
    assert done.returncode == 1 and "error: " in done.stdout and ".safetensors" in done.stdout, (
        done.stdout[-3000:]
    )
    assert not (made.work / "results/runs/main/verify.json").exists()
    done = made.run("--forcerun", "merge_adapter", "--", "results/export")
    assert done.returncode == 0, done.stdout[-3000:]
    made.assert_converged()


def test_a_half_written_record_is_named_and_remade():
    made = undisturbed().copy("torn-record")
    record, trained = made.work / STAGES["pack_stats"], made.log("logs/runs/main/train_lora.log")
    truncate(record)
    done = made.run()
    assert done.returncode == 1
    assert (
        "results/runs/main/pack_stats.json is not whole JSON" in done.stdout
        and "delete it and run again" in done.stdout
    )
    record.unlink()
    # what was made from it stands, so nothing but its name asks for it
    made.finish(STAGES["pack_stats"])
    assert made.log("logs/runs/main/train_lora.log") == trained, (
        "the same record, so nothing is trained again"
    )
    made.assert_converged()


def test_a_half_written_record_that_nothing_asks_for_is_named_all_the_same():
    made = template().copy("torn-last-record")
    target = STAGES["split_dialogues"]
    whole = (made.work / target).read_bytes()
    truncate(made.work / target)
    done = made.run(target)
    assert done.returncode == 1
    assert f"{target} is not whole JSON" in done.stdout and "delete it and run again" in done.stdout
    (made.work / target).unlink()
    assert made.run(target).returncode == 0
    assert (made.work / target).read_bytes() == whole


def test_a_torn_line_of_a_dataset_is_named_and_remade():
    made = template().copy("torn-dataset")
    clean = made.work / "results/data/demo/clean.jsonl"
    truncate(clean, 0.501)
    done = made.run(STAGES["split_dialogues"])
    assert done.returncode == 1
    assert (
        "results/data/demo/clean.jsonl line" in done.stdout
        and "delete the file and run again" in done.stdout
    )
    clean.unlink()
    done = made.run(STAGES["split_dialogues"])
    assert done.returncode == 0, done.stdout[-3000:]
    expected = {
        name: value
        for name, value in undisturbed().hashes().items()
        if name.startswith("results/data/")
    }
    found = made.hashes()
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize("days", [-400, 1], ids=["back", "forward"])
def test_a_clock_that_jumps_reruns_nothing(days):
    """Half of the files were written before the clock was set, half after: every input can be
    newer than what was made of it.
    """
    made = undisturbed().copy(f"clock{days}")
    for path in sorted((made.work / "results").rglob("*"))[::2]:
        seconds = path.stat().st_mtime + days * 86400
        os.utime(path, (seconds, seconds))
    done = made.run("--dry-run", "results/export")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout, done.stdout[-4000:]


def test_files_that_show_up_late_are_waited_for():
    """As on NFS: the job has ended, and its last file can be seen three seconds later."""
    made = template().copy("late")
    record = made.work / STAGES["split_dialogues"]
    hidden, seen = record.with_name("not-yet-visible"), threading.Event()
    record.unlink()

    def hide() -> None:
        wait_for(record.exists, 60, "the record was never written")
        os.rename(record, hidden)
        seen.set()
        time.sleep(3)
        os.rename(hidden, record)

    thread = threading.Thread(target=hide)
    thread.start()
    done = made.run("--latency-wait", "20", STAGES["split_dialogues"])
    thread.join()
    assert seen.is_set() and done.returncode == 0, done.stdout[-3000:]
    assert read(record)["stage"] == "split_dialogues"


def test_a_server_that_dies_in_the_smoke_test_fails_it_and_leaves_nothing():
    made = undisturbed().copy("dying-server")
    smoke = "results/runs/main/smoke.json"
    with group(made.start("results/runs/main/smoke.json")) as controller:
        servers = wait_for(
            lambda: (
                [
                    line
                    for line in made.processes()
                    if "transformers_server.py" in line and "watchdog" not in line
                ]
                and "up after" in made.log("logs/runs/main/verify_serving.log")
                and [
                    line
                    for line in made.processes()
                    if "transformers_server.py" in line and "watchdog" not in line
                ]
            ),
            120,
            lambda: f"no server: {made.log('logs/runs/main/verify_serving.log')}",
        )
        for line in servers:
            os.kill(int(line.split()[0]), signal.SIGKILL)
        assert controller.wait(timeout=200) == 1
    said = made.log("logs/runs/main/verify_serving.log")
    assert "FAILED" in said and "smoke checks" in said, said
    assert not (made.work / smoke).exists()
    made.assert_converged()
