"""The letters' likelihoods: equal to transformers' own, and a replay that sees a broken way to
them.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from measure_letters import (
    REPLAY_TOKENS,
    end_of_turn,
    letter_ids,
    likeliest_set,
    measured,
)
from mindtune.chat_template import load_chat
from mindtune.cli import UserError
from mindtune.evaluate.next_token import next_token
from mindtune.evaluate.replay import check_replay
from mindtune.safe_loading import load_model
from models import build_small_model

ROOT = Path(__file__).resolve().parents[3]
ROOM = 200
ENGINE = {"engine": "transformers", "device": "cpu", "threads": 1, "session_len": ROOM}


def prompt(number: int) -> dict:
    return {
        "id": f"题{number}",
        "prompt": [
            {"role": "user", "content": f"第{number}题：" + "感觉是什么？" * (number % 5 + 1)}
        ],
        "options": ["甲", "乙", "丙"],
        "multiple": False,
    }


def talking_model(folder: Path, seed: int) -> Path:
    """A random model that replies with text: its output has weights of its own. With those
    of the input it would repeat the prompt's last token for ever.
    """
    build_small_model(folder, seed=seed)
    model = load_model(folder, torch.float32)
    head = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size, bias=False)
    with torch.no_grad():
        head.weight.normal_(generator=torch.Generator().manual_seed(seed))
    model.lm_head, model.config.tie_word_embeddings = head, False
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model folder, its tokenizer, and questions with the model's own greedy replies."""
    folder = talking_model(tmp_path_factory.mktemp("letters") / "model", seed=1)
    chat, model = load_chat(folder), load_model(folder, torch.float32).eval()
    rows = []
    for row in map(prompt, range(6)):
        ids = chat.encode([chat.render(row["prompt"], add_generation_prompt=True)])[0]
        said: list[int] = []
        while len(said) < 10 and end_of_turn(chat) not in said:
            with torch.inference_mode():
                said.append(int(model(torch.tensor([ids + said])).logits[0, -1].argmax()))
        rows.append(row | {"reply": chat.tokenizer.decode(said)})
    return folder, chat, model, rows


def test_the_scores_are_the_models_own(made):
    folder, chat, model, rows = made
    with next_token(folder, ENGINE) as scores:
        found = list(measured(rows, chat, scores, ROOM))
    for row, said in zip(rows, found, strict=True):
        text = chat.render(row["prompt"], add_generation_prompt=True)
        with torch.inference_mode():
            logits = model(torch.tensor(chat.encode([text]))).logits[0, -1].log_softmax(-1)
        expected = {
            letter: float(logits[token])
            for letter, token in zip("ABC", letter_ids(chat), strict=False)
        }
        assert said["id"] == row["id"] and said["scores"] == pytest.approx(expected, abs=1e-4)


def test_the_likeliest_set_is_the_likeliest_of_all_sets(made):
    """Every reply of two and more letters, with the end of the turn, computed one by one."""
    folder, chat, model, rows = made
    end = chat.tokenizer.token_to_id("<|im_end|>")
    for row in rows[:3]:
        start = chat.encode([chat.render(row["prompt"], add_generation_prompt=True)])[0]
        logs = {}
        for letters in ("AB", "AC", "AD", "BC", "BD", "CD", "ABC", "ABD", "ACD", "BCD", "ABCD"):
            reply = [*chat.encode([letters])[0], end]
            with torch.inference_mode():
                found = model(torch.tensor([start + reply])).logits[0].log_softmax(-1)
            logs[letters] = sum(float(found[len(start) + n - 1, t]) for n, t in enumerate(reply))
        with next_token(folder, ENGINE) as scores:
            assert likeliest_set(start, chat, "ABCD", scores) == max(logs, key=logs.get)
        assert end_of_turn(chat) == end


def replay(rows, chat, scores):
    """The check of the letters that a way to the scores gives, against the served replies."""
    letters = {row["id"]: row for row in measured(rows, chat, scores, ROOM)}
    return check_replay("base", letters, {row["id"]: row for row in rows})


def test_the_canary_passes_on_the_served_model(made):
    folder, chat, _, rows = made
    with next_token(folder, ENGINE) as scores:
        found = replay(rows, chat, scores)
    assert found["replies"] >= 3 and found["same"] == found["places"] >= found["replies"]


@pytest.mark.parametrize("broken", ["constant", "without the prompt", "another model"])
def test_a_broken_way_to_the_scores_stops_the_suite(made, tmp_path, broken):
    folder, chat, _, rows = made
    other = talking_model(tmp_path / "other", seed=2) if broken == "another model" else folder
    with next_token(other, ENGINE) as right:
        ways = {
            "constant": lambda texts: [torch.zeros(200_000)] * len(texts),
            "without the prompt": lambda texts: right([ids[-1:] for ids in texts]),
            "another model": right,
        }
        with pytest.raises(UserError, match="log-likelihood path broken.* of base "):
            replay(rows, chat, ways[broken])


def test_too_few_replies_for_a_canary_are_one_sentence(made):
    folder, chat, _, rows = made
    with next_token(folder, ENGINE) as scores, pytest.raises(UserError, match="needs 3"):
        replay([row | {"reply": " "} for row in rows], chat, scores)


def test_a_model_that_says_nothing_is_not_one_that_replied(made):
    rows = made[3]
    letters = {row["id"]: {"id": row["id"], "said": []} for row in rows}
    with pytest.raises(UserError, match="0 times"):
        check_replay("tuned", letters, {row["id"]: row for row in rows})


def test_the_program_measures_what_leaves_room(made, tmp_path):
    folder, chat, _, rows = made
    long = prompt(30)
    long["prompt"][0]["content"] *= ROOM
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in [*rows, long])
    (tmp_path / "p.jsonl").write_text("".join(lines), encoding="utf-8")
    flags = {
        "--model": folder, "--prompts": tmp_path / "p.jsonl", "--engine": json.dumps(ENGINE),
        "--letters": tmp_path / "l.jsonl", "--records": tmp_path / "l.json",
    }  # fmt: skip
    # a second suite, of one question
    (tmp_path / "q.jsonl").write_text(json.dumps(rows[1]) + "\n", encoding="utf-8")
    more = {
        "--prompts": tmp_path / "q.jsonl",
        "--letters": tmp_path / "m.jsonl",
        "--records": tmp_path / "m.json",
    }
    command = [sys.executable, ROOT / "scripts/measure_letters.py"]
    for name, value in flags.items():
        command += [name, value, *([more[name]] if name in more else [])]
    subprocess.run(command, check=True)
    (alone,) = (tmp_path / "m.jsonl").read_text("utf-8").splitlines()
    assert json.loads(alone)["id"] == rows[1]["id"]
    assert list(json.loads((tmp_path / "m.json").read_text("utf-8"))["inputs"])[1].endswith(
        "q.jsonl"
    )
    found = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text("utf-8").splitlines()]
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    for row, served in zip(found, rows, strict=True):
        assert len(row["said"]) <= REPLAY_TOKENS
        assert served["reply"].startswith((row["said"] or [""])[-1].rstrip("\ufffd"))
    record = json.loads((tmp_path / "l.json").read_text(encoding="utf-8"))
    assert record["facts"] == {"questions": len(rows), "skipped_n": 1}
