"""The base model's likelihood of what counsellors say: each dialogue's is the loss that
transformers itself gives for it alone, and only learned tokens count.
"""

import json
import subprocess

import pandas
import pytest
import torch
from mindtune.batches import by_length
from mindtune.cli import UserError
from mindtune.records import read_json
from mindtune.safe_loading import load_model, load_tokenizer
from mindtune.train import perplexity
from mindtune.train.perplexity import encoded, load_for, measured, summary
from test_loss_masks import TURNS
from training import KIND, build_small_model, environment, program

TEMPLATE = {name: KIND[name] for name in ("type", "template")}
SAID = "我最近总是失眠，晚上翻来覆去睡不着，白天上班没有精神。"
REPLY = "听起来你很辛苦，我们一起看看可以怎么办。"


def dialogue(number):
    """A dialogue of one to three exchanges, each of another length."""
    turns = [] if number % 3 else [{"from": "system", "value": "你是一位倾听者。"}]
    for exchange in range(1 + number % 3):
        turns.append({"from": "human", "value": SAID * (1 + (number * 7 + exchange) % 5)})
        turns.append({"from": "gpt", "value": REPLY * (1 + (number * 5 + exchange) % 3)})
    return {"id": f"对话{number}", "source": f"甲:zh.jsonl#{number}", "conversations": turns}


ROWS = [*map(dialogue, range(23)), {"id": "遮", "source": "甲:zh.jsonl#23", "conversations": TURNS}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model, the dialogues as cleaning writes them, and what the program says of them."""
    work = tmp_path_factory.mktemp("困惑度")
    build_small_model(work / "model")
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    (work / "clean.jsonl").write_text("".join(lines), encoding="utf-8")
    done = measure(work)
    assert done.returncode == 0, done.stderr[-3000:]
    return work


def measure(work, dialogues="clean.jsonl", name="perplexity", device="cpu"):
    words = ["--dialogues", work / dialogues, "--model", work / "model", "--device", device]
    words += ["--model-kind", json.dumps(TEMPLATE), "--perplexity", work / f"{name}.parquet"]
    command = program("measure_perplexity.py", *words, "--record", work / f"{name}.json")
    return subprocess.run(command, env=environment(), capture_output=True, text=True)


def loss_alone(model, tokenizer, turns):
    """(learned tokens, mean loss) of one dialogue by transformers, from its own chat template: the
    text of each learned reply with the end of the turn and its line break, as ms-swift learns it.
    """
    roles = {"system": "system", "human": "user", "gpt": "assistant"}
    messages = [{"role": roles[turn["from"]], "content": turn["value"]} for turn in turns]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids, labels = [], []
    pieces = text.split("<|im_start|>assistant\n")
    replies = [turn for turn in turns if turn["from"] == "gpt"]
    for place, piece in enumerate(pieces):
        reply, end, rest = piece.partition("<|im_end|>\n") if place else ("", "", piece)
        learned = place and replies[place - 1].get("loss") is not False
        rest += "<|im_start|>assistant\n" if place < len(pieces) - 1 else ""
        for part, counts in ((reply + end, learned), (rest, False)):
            found = tokenizer(part, add_special_tokens=False)["input_ids"]
            ids += found
            labels += found if counts else [-100] * len(found)
    with torch.no_grad():
        loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
    return sum(label != -100 for label in labels), float(loss)


def test_each_dialogue_has_the_loss_that_transformers_gives_for_it_alone(folder):
    table = pandas.read_parquet(folder / "perplexity.parquet")
    model = load_model(folder / "model", torch.float32).eval()
    tokenizer = load_tokenizer(folder / "model")
    assert table.id.tolist() == [row["id"] for row in ROWS]
    for found, row in zip(table.itertuples(), ROWS, strict=True):
        tokens, loss = loss_alone(model, tokenizer, row["conversations"])
        assert found.tokens == tokens, row["id"]
        assert found.nll == pytest.approx(loss, abs=2e-5), row["id"]
    assert table.nll.std() > 1e-3  # else a constant would pass


def test_batches_and_windows_change_nothing(folder, monkeypatch):
    monkeypatch.setattr(perplexity, "WINDOW", 5)
    monkeypatch.setattr(perplexity, "AT_ONCE", 3)
    model = load_for(folder / "model", "cpu")
    rows = list(encoded(ROWS, folder / "model", TEMPLATE))
    alone = pandas.DataFrame(measured(rows, model, 1))
    table = pandas.read_parquet(folder / "perplexity.parquet")
    assert alone.id.equals(table.id) and (alone.nll - table.nll).abs().max() < 2e-5


def test_a_batch_is_laid_together_by_length_and_bounded():
    lengths = [7, 900, 3, 7, 5, 2000, 6]
    found = list(by_length(lengths, 20))
    assert found == [[2, 4, 6], [0, 3], [1], [5]]
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))


def test_the_record_has_percentiles_and_the_rows_furthest_out(folder):
    facts = read_json(folder / "perplexity.json")["facts"]
    table = pandas.read_parquet(folder / "perplexity.parquet")
    assert facts["dialogues"] == len(ROWS) and facts["tokens"] == table.tokens.sum()
    assert facts["nll"]["median"] == pytest.approx(table.nll.median(), abs=1e-4)
    assert facts["nll"]["p5"] < facts["nll"]["median"] < facts["nll"]["p95"]
    order = table.sort_values("nll").id.tolist()
    assert [row["id"] for row in facts["likeliest"]][0] == order[0]
    assert [row["id"] for row in facts["unlikeliest"]][0] == order[-1]
    assert len(facts["likeliest"]) == len(facts["unlikeliest"]) == 10
    assert facts["dtype"] == "float32"


def test_a_dialogue_without_a_learned_token_has_no_likelihood():
    table = pandas.DataFrame({"id": ["甲", "乙"], "tokens": [0, 4], "nll": [None, 1.5]})
    assert summary(table)["without_learned_tokens"] == 1
    with pytest.raises(UserError, match="no dialogue has a token"):
        summary(table.head(1))


def test_the_same_call_gives_the_same_bytes(folder):
    assert measure(folder, name="again").returncode == 0
    first, second = ((folder / f"{name}.parquet").read_bytes() for name in ("perplexity", "again"))
    assert first == second


def test_a_gpu_that_is_not_there_is_one_sentence_and_writes_nothing(folder):
    done = measure(folder, name="gpu", device="gpu")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert not (folder / "gpu.parquet").exists()
