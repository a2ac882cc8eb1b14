"""Fetching: local files, a hub on this machine, no hub at all, and model folders that must be
refused.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub
from mindtune.cli import UserError
from mindtune.data import hub

ROOT = Path(__file__).parents[3]
LOCAL = {"source": "local", "path": None, "sha256": None, "licence": "CC0-1.0"}
UNREACHABLE = "http://127.0.0.1:9"  # the discard port: nothing listens


def run(program, tmp_path, *more, **environment):
    command = [sys.executable, ROOT / "scripts" / program, *more]
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    caches = {"HF_HOME": str(tmp_path / "hf"), "MODELSCOPE_CACHE": str(tmp_path / "ms")}
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean | caches | environment,
    )


def fetch_dataset(tmp_path, spec, local="", **environment):
    raw = tmp_path / "results/data/心理/raw"
    return run("fetch_dataset.py", tmp_path, "--spec", json.dumps(spec), "--local", local, "--raw",
        raw,
               "--record", raw.parent / "fetch_dataset.json", **environment)  # fmt: skip


def source_folder(tmp_path):
    folder = tmp_path / "我的数据"
    (folder / "子").mkdir(parents=True)
    (folder / "对话.jsonl").write_text('{"conversations": []}\n')
    (folder / "子/more.json.gz").write_bytes(b"\x1f\x8b")
    (folder / "LICENSE").write_text("CC0")
    (folder / "photo.png").write_bytes(b"\x89PNG")
    (folder / "archive.zip").write_bytes(b"PK")
    return folder


def test_local_folder_and_file(tmp_path):
    folder = source_folder(tmp_path)
    done = fetch_dataset(tmp_path, LOCAL | {"path": str(folder)})
    assert done.returncode == 0, done.stderr
    raw = tmp_path / "results/data/心理/raw"
    assert sorted(
        path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file()
    ) == [
        "LICENSE",
        "子/more.json.gz",
        "对话.jsonl",
    ]
    facts = json.loads((raw.parent / "fetch_dataset.json").read_text())["facts"]
    assert (
        facts["files"]["对话.jsonl"]
        == hashlib.sha256((folder / "对话.jsonl").read_bytes()).hexdigest()
    )
    (folder / "对话.jsonl").write_text("changed")
    assert (raw / "对话.jsonl").read_text() == '{"conversations": []}\n', (
        "raw is a copy, not a link to the user's file"
    )
    assert fetch_dataset(tmp_path, LOCAL | {"path": str(folder / "LICENSE")}).returncode == 0
    assert [path.name for path in raw.iterdir()] == ["LICENSE"]


def test_what_is_not_taken_is_named(tmp_path):
    """On the screen and in the record: an archive, a table of another program, a hidden file, a
    link to nothing, a pipe.
    """
    folder = source_folder(tmp_path)
    (folder / ".hidden.jsonl").write_text("{}")
    (folder / "table.xlsx").write_bytes(b"PK")
    (folder / "gone.jsonl").symlink_to(folder / "没有.jsonl")
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "turns.tsv").write_text("a\tb\n")
    (folder / "more.ndjson").write_text("{}\n")
    done = fetch_dataset(tmp_path, LOCAL | {"path": str(folder)})
    assert done.returncode == 0, done.stderr
    record = tmp_path / "results/data/心理/fetch_dataset.json"
    facts = json.loads(record.read_text(encoding="utf-8"))["facts"]
    assert {"turns.tsv", "more.ndjson"} <= set(facts["files"])
    assert facts["left_behind"] == {
        ".hidden.jsonl": "hidden",
        "archive.zip": "an archive",
        "gone.jsonl": "a link to nothing",
        "photo.png": "no data file",
        "pipe.jsonl": "no regular file",
        "table.xlsx": "no data file",
    }
    assert all(f"not taken: {name!r}" in done.stdout for name in facts["left_behind"])


def test_the_pinned_hash_must_match(tmp_path):
    folder = source_folder(tmp_path)
    fetch_dataset(tmp_path, LOCAL | {"path": str(folder)})
    raw = tmp_path / "results/data/心理/raw"
    pinned = json.loads((raw.parent / "fetch_dataset.json").read_text())["facts"]["sha256"]
    assert fetch_dataset(tmp_path, LOCAL | {"path": str(folder), "sha256": pinned}).returncode == 0
    (folder / "对话.jsonl").write_text("changed")
    done = fetch_dataset(tmp_path, LOCAL | {"path": str(folder), "sha256": pinned})
    assert done.returncode == 2 and f"datasets.心理.sha256 is {pinned}" in done.stderr
    assert (raw / "对话.jsonl").read_text() != "changed"


def test_what_is_missing_is_named(tmp_path):
    done = fetch_dataset(tmp_path, LOCAL | {"path": str(tmp_path / "没有")})
    assert (
        done.returncode == 2
        and "没有 does not exist" in done.stderr
        and "datasets.心理.path" in done.stderr
    )
    (tmp_path / "空").mkdir()
    assert "holds none of" in fetch_dataset(tmp_path, LOCAL | {"path": str(tmp_path / "空")}).stderr


def test_links_out_of_the_folder_are_refused(tmp_path):
    folder = source_folder(tmp_path)
    (tmp_path / "secret.json").write_text("{}")
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    done = fetch_dataset(tmp_path, LOCAL | {"path": str(folder)})
    assert done.returncode == 2 and "outside" in done.stderr


@pytest.mark.parametrize(("spec", "word"), [
    ({"source": "ftp"}, "expected modelscope, huggingface or local"),
    ({"source": "local"}, "datasets.x.path is missing"),
    ({"source": "huggingface", "id": "a/b"}, "datasets.x.revision is missing"),
    ({"source": "local", "path": "a", "branch": "b"}, "branch"),
])  # fmt: skip
def test_specs_are_checked(spec, word):
    with pytest.raises(UserError, match=word):
        hub.check_spec(spec, "datasets.x")


@pytest.mark.parametrize("source", ["modelscope", "huggingface"])
def test_without_a_network_the_answer_comes_in_seconds(tmp_path, source):
    spec = {"source": source, "id": "CodyWhy/mh-sharegpt-20250820", "revision": "master"}
    started = time.monotonic()
    done = fetch_dataset(tmp_path, spec, HF_ENDPOINT=UNREACHABLE, MODELSCOPE_ENDPOINT=UNREACHABLE)
    assert time.monotonic() - started < 30
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (
        "datasets.心理: {source: local, path: FOLDER}" in done.stderr
        and "does not answer" in done.stderr
    )


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_hub_snapshot_and_its_cache(tmp_path, endpoint, source):
    Hub.files = {
        "train.jsonl": b'{"conversations": []}\n',
        "README.md": b"# x",
        "loader.py": b"import os",
        "a/b.parquet": b"PAR1",
    }
    spec = {"source": source, "id": "team/dialogues", "revision": COMMIT, "licence": "MIT"}
    done = fetch_dataset(tmp_path, spec, HF_ENDPOINT=endpoint, MODELSCOPE_ENDPOINT=endpoint)
    assert done.returncode == 0, done.stderr
    raw = tmp_path / "results/data/心理/raw"
    facts = json.loads((raw.parent / "fetch_dataset.json").read_text())["facts"]
    assert sorted(facts["files"]) == ["README.md", "a/b.parquet", "train.jsonl"]
    assert (raw / "train.jsonl").read_bytes() == Hub.files["train.jsonl"]
    again = fetch_dataset(tmp_path, spec, HF_ENDPOINT=UNREACHABLE, MODELSCOPE_ENDPOINT=UNREACHABLE)
    assert again.returncode == 0, "what the cache holds needs no network"


def test_an_empty_snapshot_is_refused(tmp_path, endpoint):
    Hub.files = {"loader.py": b"import os"}
    for source in ("huggingface", "modelscope"):
        spec = {"source": source, "id": "team/code", "revision": COMMIT}
        done = fetch_dataset(tmp_path, spec, HF_ENDPOINT=endpoint, MODELSCOPE_ENDPOINT=endpoint)
        assert done.returncode == 2 and "holds none of" in done.stderr, done.stderr
