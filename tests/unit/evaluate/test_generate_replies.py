"""All suites of a model in one go: what is asked, in which order, what is never asked twice, and
what the records say about the prompts that were not asked.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mindtune.chat_template import load_chat
from mindtune.cli import UserError
from mindtune.evaluate.asked import prepared, sha256_prompts
from mindtune.evaluate.reply_store import ReplyStore, prompt_key, store_key
from models import build_small_model

ROOT = Path(__file__).resolve().parents[3]
ENGINE = {
    "engine": "transformers", "backend": "pytorch", "model_name": "demo", "tp": 1,
    "session_len": 200,
    "cache_max_entry_count": 0.8, "device": "cpu", "threads": 1, "startup_timeout_s": 120,
}  # fmt: skip
SUITES = {"knowledge": 4, "crisis": 16}


def prompt(name: str, text: str) -> dict:
    return {
        "id": name,
        "cluster": name,
        "lang": "zh",
        "prompt": [{"role": "user", "content": text}],
    }


ROWS = {
    "knowledge": [prompt(f"题{number}", "感觉和知觉" * (number + 1)) for number in range(6)],
    "crisis": [prompt(f"危机{number}", "睡不着" * (number + 1)) for number in range(6)]
    + [prompt("长", "睡不着" * 300)],
}


def write_prompts(folder: Path) -> None:
    for suite, rows in ROWS.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{suite}.prompts.jsonl").write_text("".join(lines), encoding="utf-8")


def command(folder: Path, model: Path, name: str, suites: dict[str, int], state: str) -> list:
    """The program's command line for some suites, with the files of a run called `name`."""
    files = [[folder / f"{suite}.{name}.{end}" for suite in suites] for end in ("jsonl", "json")]
    return [
        sys.executable, ROOT / "scripts/generate_replies.py", "--model", model,
        "--suites", json.dumps(suites), "--prompts",
        *(folder / f"{s}.prompts.jsonl" for s in suites),
        "--engine", json.dumps(ENGINE), "--engine-python", sys.executable, "--concurrency", "2",
        "--code", "1", "--state", folder / state, "--replies", *files[0], "--records", *files[1],
        "--log", folder / f"{name}.log",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> tuple[Path, Path]:
    """A folder with prompts, and a model; `whole` are its replies to both suites in one run."""
    folder = tmp_path_factory.mktemp("replies")
    write_prompts(folder)
    model = build_small_model(folder / "base", seed=1)
    subprocess.run(command(folder, model, "whole", SUITES, "state"), check=True)
    return folder, model


def read(folder: Path, suite: str, name: str) -> tuple[list[dict], dict]:
    text = (folder / f"{suite}.{name}.jsonl").read_text(encoding="utf-8")
    record = json.loads((folder / f"{suite}.{name}.json").read_text(encoding="utf-8"))
    return [json.loads(line) for line in text.splitlines()], record


def test_every_prompt_of_every_suite_is_answered_in_order_or_listed(place):
    folder, _ = place
    for suite, limit in SUITES.items():
        rows, record = read(folder, suite, "whole")
        facts = record["facts"]
        listed = [entry["id"] for entry in facts["skipped"]]
        assert [row["id"] for row in rows] + listed == [row["id"] for row in ROWS[suite]]
        assert listed == (["长"] if suite == "crisis" else []) and facts["n"] == len(rows)
        assert facts["prompts_counted_otherwise_by_server"] == 0
        assert facts["truncated"] == sum(row["finish_reason"] == "length" for row in rows)
        assert all(row["completion_tokens"] <= limit for row in rows)
        assert record["params"]["suite"] == suite and len(record["outputs"]) == 1


def test_a_suite_that_is_added_asks_only_its_own_prompts(place):
    folder, model = place
    one = {"knowledge": SUITES["knowledge"]}
    subprocess.run(command(folder, model, "one", one, "grown"), check=True)
    kept = next((folder / "grown").glob("*.jsonl")).read_bytes()
    done = subprocess.run(
        command(folder, model, "both", SUITES, "grown"), check=True, capture_output=True, text=True
    )
    assert "asked 6, the others were there already" in done.stdout
    assert next((folder / "grown").glob("*.jsonl")).read_bytes().startswith(kept)
    for suite in SUITES:
        whole, both = (folder / f"{suite}.{name}.jsonl" for name in ("whole", "both"))
        assert whole.read_bytes() == both.read_bytes()


def test_with_every_reply_kept_no_server_is_started(place):
    folder, model = place
    unable = command(folder, model, "again", SUITES, "state")
    unable[unable.index("--engine-python") + 1] = "/nowhere/python"
    done = subprocess.run(unable, check=True, capture_output=True, text=True)
    assert "asked 0" in done.stdout
    again, whole = (folder / f"crisis.{name}.jsonl" for name in ("again", "whole"))
    assert again.read_bytes() == whole.read_bytes()


def test_the_base_is_asked_again_in_the_other_order_and_with_another_system_turn(place):
    folder, model = place
    suites = {"again/knowledge": 4, "prompted/knowledge": 4}
    told = {"zh": "你是心理咨询师。", "en": "You are a counsellor."}
    for suite in suites:
        (folder / suite).parent.mkdir(exist_ok=True)
        (folder / f"{suite}.prompts.jsonl").symlink_to(folder / "knowledge.prompts.jsonl")
    words = ["--systems", json.dumps({"prompted/knowledge": told}), "--reversed"]
    asking = command(folder, model, "base", suites, "baselines")
    asking[asking.index("--concurrency") + 1] = "1"
    subprocess.run([*asking, *words], check=True)
    again, prompted = (read(folder, suite, "base")[0] for suite in suites)
    assert [row["prompt"] for row in again] == [row["prompt"] for row in ROWS["knowledge"]]
    assert {row["prompt"][0]["content"] for row in prompted} == {told["zh"]}
    whole, _ = read(folder, "knowledge", "whole")
    assert [row["reply"] for row in again] == [row["reply"] for row in whole]
    (kept,) = (folder / "baselines").glob("*.jsonl")
    asked = [json.loads(line)["reply"]["text"] for line in kept.open(encoding="utf-8")]
    assert asked == [row["reply"] for row in [*again, *prompted]][::-1]


def test_killed_at_any_reply_nothing_is_asked_twice_and_the_bytes_are_the_same(place):
    folder, model = place
    asked = []
    for kill_after in (1, 7):
        state = f"killed{kill_after}"
        process = subprocess.Popen(
            command(folder, model, state, SUITES, state),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            found = list((folder / state).glob("*.jsonl"))
            if found and found[0].read_bytes().count(b"\n") >= kill_after:
                break
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = len(ReplyStore(next((folder / state).glob("*.jsonl"))).kept)
        done = subprocess.run(
            command(folder, model, state, SUITES, state), check=True, capture_output=True, text=True
        )
        asked.append((kept, int(done.stdout.split("asked ")[1].split(",")[0])))
        for suite in SUITES:
            whole, mine = (folder / f"{suite}.{name}.jsonl" for name in ("whole", state))
            assert whole.read_bytes() == mine.read_bytes()
    assert all(kept + new == 12 for kept, new in asked) and all(kept for kept, _ in asked), asked


def test_a_torn_line_is_asked_again_and_nothing_behind_it_is_lost(tmp_path):
    store = ReplyStore(tmp_path / "a.jsonl")
    store.add("一", {"text": "好"})
    store.add("二", {"text": "慢慢说"})
    content = (tmp_path / "a.jsonl").read_bytes()
    (tmp_path / "a.jsonl").write_bytes(content[:-5])
    again = ReplyStore(tmp_path / "a.jsonl")
    assert set(again.kept) == {"一"}
    again.add("二", {"text": "慢慢说"})
    assert (tmp_path / "a.jsonl").read_bytes() == content


def test_keys_change_with_what_could_change_a_reply():
    assert len({prompt_key("好", 1), prompt_key("好", 2), prompt_key("坏", 1)}) == 3
    parts = {"model": "a", "engine": {"tp": 1}, "code": "x"}
    keys = {store_key(**parts)} | {store_key(**(parts | {name: "other"})) for name in parts}
    assert len(keys) == 4


def test_a_suite_of_which_no_prompt_fits_is_a_sentence(place):
    _, model = place
    with pytest.raises(UserError, match="none of the 1 prompts of suite 长 fits into 84 tokens"):
        prepared("长", ROWS["crisis"][-1:], load_chat(model), 16, 100)


def test_the_prompts_hash_sees_ids_and_text():
    one, two = prompt("a", ""), prompt("b", "")
    cases = [([one], ["好"]), ([two], ["好"]), ([one], ["坏"]), ([one, two], ["好", ""])]
    assert len({sha256_prompts(rows, texts) for rows, texts in cases}) == 4
