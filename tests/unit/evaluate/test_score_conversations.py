"""The program that counts whether clients stayed clients, on transcripts of scripted clients."""

import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.evaluate.clients import scripted_client
from mindtune.evaluate.conversation import converse
from mindtune.evaluate.personas import read_personas, read_styles
from mindtune.evaluate.transcripts import transcript
from mindtune.records import read_json, read_jsonl, write_jsonl, write_record

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = ROOT / "resources/clients"
PERSONAS = read_personas(CLIENTS / "personas.yaml", read_styles(CLIENTS / "styles.yaml"))
OUT = ("csv", "markdown", "record")


def talks(path, reply, personas=PERSONAS):
    """Transcripts with a counsellor that always says the same, and their record."""
    answer = {"text": reply, "finish_reason": "stop"}
    rows = []
    for persona in personas:
        said, ended = converse(scripted_client(persona, 42), lambda _: answer, None, 10)
        rows.append(transcript(persona, said, ended, None, {"client": "scripted", "seed": 42}))
    write_jsonl(path, rows)


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    talks(Path("base.jsonl"), "嗯。 I see.")
    talks(Path("tuned.jsonl"), "你愿意多说一点吗？ Would you tell me more?")
    paths = ["base.jsonl", "tuned.jsonl"]
    write_record("made.json", "simulate", inputs=[], outputs=paths, params={}, facts={})
    return tmp_path


def score():
    flags = ["--run", "main", "--base", "base.jsonl", "--tuned", "tuned.jsonl"]
    flags += ["--personas", CLIENTS / "personas.yaml", "--styles", CLIENTS / "styles.yaml"]
    flags += ["--made-by", "made.json"]
    flags += [word for name in OUT for word in (f"--{name}", f"drift.{name}")]
    program = ROOT / "scripts/score_conversations.py"
    return subprocess.run([sys.executable, program, *flags], capture_output=True, text=True)


def test_a_counsellor_that_asks_hears_the_hidden_thing(work):
    done = score()
    assert done.returncode == 0, done.stderr
    assert "The client is a script" in done.stdout
    record = read_json(work / "drift.record")
    rows = {row["kind"]: row for row in record["facts"]["drift"]}
    assert record["facts"]["client"] == "scripted"
    assert (rows["any"]["base"], rows["any"]["tuned"]) == (0, 0)
    assert (rows["disclosed"]["base"], rows["disclosed"]["tuned"]) == (0, 1)
    assert rows["disclosed"]["low"] > 0.5 and rows["too_early"]["tuned"] == 0
    first = [(work / f"drift.{name}").read_bytes() for name in OUT]
    assert score().returncode == 0
    assert [(work / f"drift.{name}").read_bytes() for name in OUT] == first


def test_transcripts_that_were_changed_or_of_other_clients_are_refused(work):
    whole = list(read_jsonl(Path("tuned.jsonl")))
    whole[0]["turns"][1]["client"] = "something else"
    write_jsonl(Path("tuned.jsonl"), whole)
    done = score()
    assert done.returncode == 2 and "it was changed since" in done.stderr
    talks(Path("tuned.jsonl"), "嗯。", PERSONAS[:5])
    paths = ["base.jsonl", "tuned.jsonl"]
    write_record("made.json", "simulate", inputs=[], outputs=paths, params={}, facts={})
    done = score()
    assert done.returncode == 2 and "have other clients" in done.stderr
    assert not Path("drift.csv").exists()
