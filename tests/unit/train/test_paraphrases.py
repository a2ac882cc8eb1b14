"""Paraphrases by a real, small encoder: its embeddings are those of one text at a time, all pairs
are found, and a pair is never on two sides of a split.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
from encoders import SIGNS, as_sentence_transformer, build_encoder
from mindtune.cli import UserError
from mindtune.data import encoder as program
from mindtune.data import paraphrases
from mindtune.data.encoder import embed, open_encoder, pooling_of
from mindtune.data.paraphrases import joins
from mindtune.environments import interpreter
from mindtune.records import read_json, read_jsonl, sha256_path
from test_split_program import row, write

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_encoder(tmp_path_factory.mktemp("编码") / "encoder 模型")


def story(number):
    """A client's first turn of 24 characters that no other story has all of."""
    draw = numpy.random.default_rng(number)
    return "".join(draw.choice(SIGNS, size=24))


def in_other_words(text):
    """The same characters, the halves of each six exchanged: no 5-gram is shared."""
    parts = [text[start : start + 6] for start in range(0, len(text), 6)]
    return "".join(part[3:] + part[:3] for part in reversed(parts))


def find(work, clean, encoder, threshold=0.97):
    words = ["--clean", clean, "--encoder", encoder, "--threshold", threshold, "--device", "cpu"]
    words += ["--pairs", work / "paraphrases.jsonl", "--record", work / "find_paraphrases.json"]
    return subprocess.run(
        [sys.executable, ROOT / "scripts/find_paraphrases.py", *map(str, words)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def split(work, clean, *more):
    """Split in the environment in which the rule splits; return {id: side} and the facts."""
    settings = {
        "seed": 42, "dev_share": 0.1, "test_share": 0.2,
        "near_duplicates": {"ngram_chars": 5, "threshold": 0.6},
        "contamination": {"ngram_chars": 13, "overlap": 0.5, "similarity": 0.8, "remove": True},
    }  # fmt: skip
    sides = {side: work / f"{side}.jsonl" for side in ("train", "dev", "test")}
    words = ["--clean", clean, "--held-out", "--settings", json.dumps(settings), *more]
    words += [part for side, path in sides.items() for part in (f"--{side}", path)]
    words += ["--contamination", work / "contamination.jsonl", "--record", work / "split.json"]
    done = subprocess.run(
        [interpreter("core"), ROOT / "scripts/split_dialogues.py", *map(str, words)],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    side_of = {entry["id"]: side for side, path in sides.items() for entry in read_jsonl(path)}
    return side_of, read_json(work / "split.json")["facts"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """60 stories, of which 25 come a second time in other words."""
    work = tmp_path_factory.mktemp("语料")
    firsts = [story(n) for n in range(60)]
    firsts += [in_other_words(text) for text in firsts[:25]]
    rows = [row(n, text, f"回答{n}，{chr(0x6000 + n) * 9}") for n, text in enumerate(firsts)]
    return write(work / "clean.jsonl", rows)


@pytest.fixture(scope="module")
def found(tmp_path_factory, corpus, folder):
    """A folder with what the program finds."""
    work = tmp_path_factory.mktemp("找到")
    done = find(work, corpus, folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return work


def test_a_paraphrase_is_never_on_two_sides(tmp_path, corpus, found):
    before, facts = split(tmp_path, corpus)
    assert "paraphrase_pairs" not in facts
    parted = [n for n in range(25) if before[f"对话-{n}"] != before[f"对话-{60 + n}"]]
    assert parted, "without the encoder some are on two sides, or this test shows nothing"
    listed = found / "paraphrases.jsonl"
    pairs = {(pair["first"], pair["second"]) for pair in read_jsonl(listed)}
    assert pairs == {(f"对话-{n}", f"对话-{60 + n}") for n in range(25)}
    made_by = ["--made-by", found / "find_paraphrases.json"]
    after, facts = split(tmp_path, corpus, "--paraphrases", listed, *made_by)
    assert all(after[f"对话-{n}"] == after[f"对话-{60 + n}"] for n in range(25))
    assert set(after.values()) == {"train", "dev", "test"} and len(after) == 85
    assert (facts["paraphrase_pairs"], facts["shared_near_duplicates"]) == (25, 0)
    assert str(listed) in read_json(tmp_path / "split.json")["inputs"]


def test_the_record_says_what_was_compared_and_how(tmp_path, corpus, folder, found):
    record = read_json(found / "find_paraphrases.json")
    assert record["facts"] == {
        "first_turns": 85, "pairs": 25, "joined": 25, "pooling": "mean", "dimensions": 32,
        "tokens_read": 64, "cut": 0, "encoder_sha256": sha256_path(folder),
    }  # fmt: skip
    assert record["params"] == {"threshold": 0.97, "device": "cpu"}
    assert find(tmp_path, corpus, folder).returncode == 0
    again, first = ((work / "paraphrases.jsonl").read_bytes() for work in (tmp_path, found))
    assert again == first


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_an_embedding_is_that_of_the_text_alone(folder, monkeypatch, pooling):
    monkeypatch.setattr(program, "pooling_of", lambda folder: pooling)
    monkeypatch.setattr(program, "WINDOW", 7)
    texts = [story(n)[: 1 + 5 * n % 24] for n in range(20)] + [story(1) * 9]
    encoder = open_encoder(folder, "cpu")
    found, cut = embed(encoder, texts)
    assert cut == 1
    for text, vector in zip(texts, found, strict=True):
        read = encoder.tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            hidden = encoder.model(**read).last_hidden_state[0]
        alone = {"mean": hidden.mean(0), "cls": hidden[0], "lasttoken": hidden[-1]}[pooling]
        assert torch.allclose(vector, alone / alone.norm(), atol=1e-5), text


def brute_force(vectors, threshold):
    """(number of pairs, groups as a set of sets) by comparing all with all."""
    products = vectors @ vectors.T
    pairs = [(a, b) for b in range(len(vectors)) for a in range(b) if products[a, b] >= threshold]
    groups = {place: {place} for place in range(len(vectors))}
    for first, second in pairs:
        if groups[first] is not groups[second]:
            groups[first] |= groups[second]
            for place in groups[second]:
                groups[place] = groups[first]
    return len(pairs), {frozenset(group) for group in groups.values()}


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.9, 0.99])
def test_blocks_find_the_pairs_and_groups_that_comparing_all_with_all_finds(monkeypatch, threshold):
    monkeypatch.setattr(paraphrases, "ROWS", 17)
    monkeypatch.setattr(paraphrases, "COLUMNS", 29)
    draw = numpy.random.default_rng(3)
    centres = draw.normal(size=(40, 6))
    vectors = centres[draw.integers(40, size=211)] + 0.15 * draw.normal(size=(211, 6))
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    found = joins(torch.tensor(vectors, dtype=torch.float32), threshold)
    pairs, groups = brute_force(vectors.astype(numpy.float32), threshold)
    ours = {frozenset(numpy.flatnonzero(found.group == name).tolist()) for name in found.group}
    assert found.seen == pairs and ours == groups
    assert len(found.pairs) == 211 - len(groups) < max(pairs, 1)
    for earlier, later, similarity in found.pairs:
        assert earlier < later
        assert similarity == pytest.approx(vectors[earlier] @ vectors[later], abs=1e-4)


def test_how_texts_are_pooled_is_read_from_the_folder(tmp_path):
    made = build_encoder(tmp_path / "encoder")
    assert pooling_of(made) == "mean"
    as_sentence_transformer(made, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    assert open_encoder(made, "cpu").pooling == "cls"
    as_sentence_transformer(made, pooling_mode_max_tokens=True)
    with pytest.raises(UserError, match="pools by pooling_mode_max_tokens"):
        pooling_of(made)
    (made / "modules.json").write_text(
        json.dumps([{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}])
    )
    with pytest.raises(UserError, match="has the modules Dense"):
        pooling_of(made)


def test_pickles_code_missing_weights_and_an_empty_folder_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    pickled, coded, torn = (build_encoder(tmp_path / name) for name in ("腌", "码", "缺"))
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    config = read_json(coded / "config.json") | {"auto_map": {"AutoModel": "m.M"}}
    (coded / "config.json").write_text(json.dumps(config))
    weights = load_file(torn / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, torn / "model.safetensors", {"format": "pt"})
    both = build_encoder(tmp_path / "双")
    config = read_json(both / "config.json") | {"is_encoder_decoder": True}
    (both / "config.json").write_text(json.dumps(config))
    (tmp_path / "空").mkdir()
    for made, said in (
        (pickled, "pytorch_model.bin can run code"),
        (coded, "names code of its own .auto_map"),
        (torn, "has no weights for encoder.layer.1.output.dense"),
        (both, "a decoder behind its encoder"),
        (tmp_path / "空", "空 has no config.json; data.split.paraphrases.path has to name"),
    ):
        with pytest.raises(UserError, match=said):
            open_encoder(made, "cpu")


def test_a_list_of_other_dialogues_is_refused(tmp_path, corpus):
    other = tmp_path / "paraphrases.jsonl"
    pair = {"first": "对话-1", "second": "别的", "similarity": 0.98}
    other.write_text(json.dumps(pair) + "\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="别的.*not among those that are split"):
        split(tmp_path, corpus, "--paraphrases", other)
    assert not (tmp_path / "train.jsonl").exists()
