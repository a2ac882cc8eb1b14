"""What starts a server for good: exports are switched and rolled back by their manifest, units
name what the configuration says.
"""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import activate_export
import pytest
from signed_export import keys, seal
from stored_exports import make_export, program

ROOT = Path(__file__).resolve().parents[3]


def served(store: Path) -> str:
    """What the model card of the served export says."""
    return (store / "current" / "README.md").read_text(encoding="utf-8")


# Upgrade and rollback


def test_an_upgrade_and_the_way_back(tmp_path):
    store = tmp_path / "仓库"
    for text in ("第一版", "第二版"):
        done = program("deploy/activate_export.py", store, make_export(tmp_path / text, text))
        assert done.returncode == 0, done.stderr
        assert served(store) == text
        assert not (tmp_path / text).exists(), "a second copy was left"
    name = os.readlink(store / "current")
    assert name == activate_export.sha256(store / name / "manifest.json")[:16]
    assert program("deploy/activate_export.py", store, "--rollback").returncode == 0
    assert served(store) == "第一版"
    assert program("deploy/activate_export.py", store, "--rollback").returncode == 0
    assert served(store) == "第二版"


def test_a_damaged_export_is_never_served(tmp_path):
    store = tmp_path / "store"
    for text in ("一", "二"):
        assert (
            program(
                "deploy/activate_export.py", store, make_export(tmp_path / text, text)
            ).returncode
            == 0
        )
    bad = make_export(tmp_path / "三", "三")
    (bad / "config.json").write_text('{"model_type": "qwen3"}', encoding="utf-8")
    done = program("deploy/activate_export.py", store, bad)
    assert done.returncode == 1 and "config.json: byte 20 is" in done.stderr
    assert served(store) == "二" and bad.exists()
    previous = store / os.readlink(store / "previous")
    (previous / "README.md").write_text("改", encoding="utf-8")
    done = program("deploy/activate_export.py", store, "--rollback")
    assert done.returncode == 1 and "README.md" in done.stderr
    assert served(store) == "二"


def test_the_same_export_twice_keeps_the_way_back(tmp_path):
    store = tmp_path / "store"
    for folder, text in (("a", "一"), ("b", "二"), ("c", "二")):
        assert (
            program(
                "deploy/activate_export.py", store, make_export(tmp_path / folder, text)
            ).returncode
            == 0
        )
    assert program("deploy/activate_export.py", store, "--rollback").returncode == 0
    assert served(store) == "一"


def test_there_is_no_way_back_from_the_first(tmp_path):
    assert (
        program(
            "deploy/activate_export.py", tmp_path, make_export(tmp_path / "new", "一")
        ).returncode
        == 0
    )
    done = program("deploy/activate_export.py", tmp_path, "--rollback")
    assert done.returncode == 1 and "no previous export" in done.stderr


def test_a_link_is_not_taken_into_the_store(tmp_path):
    store = tmp_path / "store"
    (tmp_path / "链接").symlink_to(make_export(tmp_path / "new", "一"))
    done = program("deploy/activate_export.py", store, tmp_path / "链接")
    assert done.returncode == 1 and "is a link; give the folder itself" in done.stderr
    assert not store.exists() and (tmp_path / "new").exists()


def test_a_damaged_copy_in_the_store_is_not_served(tmp_path):
    store = tmp_path / "store"
    for text in ("一", "二"):
        assert (
            program(
                "deploy/activate_export.py", store, make_export(tmp_path / text, text)
            ).returncode
            == 0
        )
    first = store / os.readlink(store / "previous")
    (first / "model.safetensors").write_bytes("坏".encode() * 100)
    done = program("deploy/activate_export.py", store, make_export(tmp_path / "again", "一"))
    assert done.returncode == 1 and "model.safetensors" in done.stderr and str(first) in done.stderr
    assert served(store) == "二" and (tmp_path / "again").exists()


@pytest.mark.parametrize("aim", ["/etc", "../new", "current", "没有", "x\n\x1b[32mOK"])
def test_a_way_back_that_leads_out_of_the_store_is_refused(tmp_path, aim):
    store = tmp_path / "store"
    assert (
        program("deploy/activate_export.py", store, make_export(tmp_path / "a", "一")).returncode
        == 0
    )
    make_export(tmp_path / "new", "二")
    (store / "previous").symlink_to(aim)
    done = program("deploy/activate_export.py", store, "--rollback")
    assert done.returncode == 1 and "which is no export of the store" in done.stderr
    assert (
        served(store) == "一" and len(done.stderr.splitlines()) == 1 and "\x1b" not in done.stderr
    )


def test_only_the_published_export_is_taken(tmp_path):
    store, export = tmp_path / "store", make_export(tmp_path / "new", "一")
    published = activate_export.sha256(export / "manifest.json")
    done = program("deploy/activate_export.py", store, export, "--expect", "0" * 64)
    assert (
        done.returncode == 1
        and f"{published}, and {'0' * 64} was expected" in done.stderr
        and export.exists()
    )
    assert (
        program("deploy/activate_export.py", store, export, "--expect", published).returncode == 0
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_changes_nothing_and_the_same_command_works_afterwards(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=4m,nr_inodes=40", "tmpfs", disk]
    subprocess.run(["mount", *options], check=True)
    try:
        store = disk / "store"
        for text in ("一", "二"):
            done = program("deploy/activate_export.py", store, make_export(disk / text, text))
            assert done.returncode == 0, done.stderr
        links = {name: os.readlink(store / name) for name in ("current", "previous")}
        new = make_export(disk / "三", "三")
        fillers = []
        with suppress(OSError):
            while True:
                fillers.append(disk / str(len(fillers)))
                fillers[-1].touch()
        # one link fits, and the second does not
        for room in (0, 1):
            for filler in fillers[:room]:
                filler.unlink(missing_ok=True)
            done = program("deploy/activate_export.py", store, new)
            assert done.returncode == 1 and "No space left" in done.stderr
            assert len(done.stderr.splitlines()) == 1 and new.is_dir()
            assert links == {name: os.readlink(store / name) for name in links}
        for filler in fillers:
            filler.unlink(missing_ok=True)
        done = program("deploy/activate_export.py", store, new)
        assert done.returncode == 0 and served(store) == "三", done.stderr
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


# A signature that is demanded. What checks it lies in the core environment


def test_a_store_can_demand_a_signature(signed, tmp_path):
    export, public, core = signed
    store, demand = tmp_path / "store", ["--public-key", public, "--python", core]
    for key, said in (
        (keys(tmp_path, "别人")[1], "is not what the owner of"),
        (tmp_path / "没有", "没有"),
    ):
        done = program(
            "deploy/activate_export.py", store, export, "--public-key", key, "--python", core
        )
        assert (
            done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
        ), done.stderr
    (export / "README.md").write_text("换了", encoding="utf-8")
    seal(export)
    done = program("deploy/activate_export.py", store, export, *demand)
    assert done.returncode == 1 and "is not what the owner of" in done.stderr and not store.exists()
    unsigned = make_export(tmp_path / "unsigned", "二")
    done = program("deploy/activate_export.py", store, unsigned, *demand)
    assert done.returncode == 1 and "has no model.sig" in done.stderr and not store.exists()
    (export / "README.md").write_text("一", encoding="utf-8")
    seal(export)
    assert program("deploy/activate_export.py", store, export, *demand).returncode == 0


def test_a_signature_that_cannot_be_checked_is_not_taken_for_right(signed, tmp_path):
    export, public, _ = signed
    done = program("deploy/activate_export.py", tmp_path / "store", export, "--public-key", public)
    assert (
        done.returncode == 1 and "model-signing is not installed" in done.stderr and export.exists()
    )


def test_a_store_refuses_what_was_taken_back(signed, tmp_path):
    export, public, core = signed
    store, revoked = tmp_path / "store", tmp_path / "revoked.txt"
    signer = ["--public-key", public, "--python", core]
    for what, words in (
        (export / "manifest.json", []),
        (export / "manifest.json", signer),
        (public, signer),
    ):
        revoked.write_text(f"{activate_export.sha256(what)}\n", encoding="utf-8")
        done = program("deploy/activate_export.py", store, export, "--revoked", revoked, *words)
        assert done.returncode == 1 and "lists the SHA-256 of" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1 and not store.exists()
    revoked.write_text("nothing\n", encoding="utf-8")
    done = program("deploy/activate_export.py", store, export, "--revoked", revoked)
    assert done.returncode == 1 and "line 1: 'nothing' is no SHA-256" in done.stderr
    revoked.write_text("# nothing yet\n", encoding="utf-8")
    done = program("deploy/activate_export.py", store, export, "--revoked", revoked, *signer)
    assert done.returncode == 0, done.stderr


def test_the_way_back_to_what_was_taken_back_is_closed(tmp_path):
    store, revoked = tmp_path / "store", tmp_path / "revoked.txt"
    for text in ("一", "二"):
        done = program("deploy/activate_export.py", store, make_export(tmp_path / text, text))
        assert done.returncode == 0, done.stderr
    first = store / os.readlink(store / "previous") / "manifest.json"
    revoked.write_text(f"{activate_export.sha256(first)}  manifest.json\n", encoding="utf-8")
    done = program("deploy/activate_export.py", store, "--rollback", "--revoked", revoked)
    assert done.returncode == 1 and "took this export back" in done.stderr
    assert served(store) == "二"


# The server's start
