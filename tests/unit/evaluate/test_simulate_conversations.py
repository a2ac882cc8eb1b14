"""The program that holds conversations, with a real model as counsellor: a scripted client, a model
of ours and an endpoint as clients, killed and gone on with.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mindtune.records import read_json, read_jsonl, sha256_path
from models import build_small_model
from recording_server import completion, recording_server

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = ROOT / "resources/clients"
ENGINE = {
    "engine": "transformers", "backend": "pytorch", "model_name": "replies", "tp": 1,
    "session_len": 1200,
    "cache_max_entry_count": 0.8, "device": "cpu", "threads": 1, "startup_timeout_s": 120,
}  # fmt: skip
SETTINGS = {
    "personas": ["zh_laid_off", "en_debts"], "turns": 3, "seed": 42, "max_new_tokens": 8,
    "client_max_new_tokens": 8,
}  # fmt: skip
NOBODY = {"base_url": None, "model": None, "key_file": None, "path": None}
KEY = "sk-planted-7f3a91c2"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("talks")
    turns = [{"from": "system", "value": "你是一位心理咨询师。"}, {"from": "human", "value": "好"}]
    (folder / "train.jsonl").write_text(json.dumps({"conversations": turns}) + "\n")
    build_small_model(folder / "base", seed=1)
    build_small_model(folder / "player", seed=2)
    return folder


def command(folder, name, state, kind, **client):
    """The program's command line, with the files of a run called `name`."""
    return [
        sys.executable, ROOT / "scripts/simulate_conversations.py", "--model", folder / "base",
        "--personas", CLIENTS / "personas.yaml", "--styles", CLIENTS / "styles.yaml",
        "--train", folder / "train.jsonl", "--system", "null",
        "--client", json.dumps({"kind": kind} | NOBODY | client),
        "--settings", json.dumps(SETTINGS), "--engine", json.dumps(ENGINE),
        "--engine-python", sys.executable, "--concurrency", "1", "--code", "1",
        "--state", folder / state, "--transcripts", folder / f"{name}.jsonl",
        "--record", folder / f"{name}.json", "--log", folder / f"{name}.log",
    ]  # fmt: skip


def talk(folder, name, state, kind, **client):
    done = subprocess.run(
        command(folder, name, state, kind, **client), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_scripted_client_and_then_no_server_at_all(place):
    said = talk(place, "script", "state", "scripted")
    assert "2 conversations with a client of the kind scripted" in said
    assert "'counsellor': 6" in said
    rows = list(read_jsonl(place / "script.jsonl"))
    assert [(row["id"], len(row["turns"]), row["ended"]) for row in rows] == [
        ("zh_laid_off", 3, "turns"),
        ("en_debts", 3, "turns"),
    ]
    assert rows[0]["prompt"][0] == {"role": "system", "content": "你是一位心理咨询师。"}
    record = read_json(place / "script.json")
    assert record["facts"]["sha256"] == {row["id"]: row["sha256"] for row in rows}
    assert list(record["outputs"].values()) == [sha256_path(place / "script.jsonl")]
    again = command(place, "again", "state", "scripted")
    again[again.index("--engine-python") + 1] = "/nowhere/python"
    assert "'counsellor': 0" in subprocess.run(again, capture_output=True, text=True).stdout
    assert (place / "again.jsonl").read_bytes() == (place / "script.jsonl").read_bytes()


def test_a_model_of_ours_plays_the_clients_and_a_kill_changes_no_byte(place):
    model = {"path": str(place / "player")}
    said = talk(place, "whole", "played", "model", **model)
    assert "'counsellor': 6, 'client': 4" in said
    process = subprocess.Popen(
        command(place, "killed", "torn", "model", **model),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if sum(path.read_bytes().count(b"\n") for path in (place / "torn").glob("*.jsonl")) >= 4:
            break
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = sum(path.read_bytes().count(b"\n") for path in (place / "torn").glob("*.jsonl"))
    said = talk(place, "killed", "torn", "model", **model)
    asked = json.loads(said.split("asked ")[1].replace("'", '"'))
    assert 4 <= kept < 10 and kept + sum(asked.values()) == 10
    assert (place / "killed.jsonl").read_bytes() == (place / "whole.jsonl").read_bytes()


def test_an_endpoint_plays_the_clients_and_its_key_is_nowhere(place):
    key = place / "key"
    key.write_text(KEY, encoding="utf-8")
    key.chmod(0o600)
    with recording_server(lambda number, body: (200, completion(f"words {number}"))) as server:
        client = {"base_url": server.address, "model": "m", "key_file": str(key)}
        said = talk(place, "endpoint", "paid", "endpoint", **client)
        assert f"asking {server.address} at most 4 times" in said
        assert len(server.bodies) == 4
        (place / "endpoint.jsonl").unlink()
        # an edit of our code asks the counsellor again, and pays nobody twice
        other = command(place, "endpoint", "paid", "endpoint", **client)
        other[other.index("--code") + 1] = "2"
        subprocess.run(other, check=True, capture_output=True)
        assert len(server.bodies) == 4
    written = [path for path in place.rglob("*") if path.is_file() and path != key]
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in said


def test_an_endpoint_that_fails_ends_the_program_with_a_sentence(place):
    with recording_server(lambda number, body: (401, b"{}")) as server:
        flags = command(place, "refused", "refused", "endpoint", base_url=server.address, model="m")
        done = subprocess.run(flags, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "did not answer (status 401)" in done.stderr and "run again" in done.stderr
    assert not (place / "refused.jsonl").exists()
