"""A suite's replies become item scores: counts that add up, and one sentence for bad replies."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.evaluate.choice_prompts import question_prompts
from mindtune.evaluate.items import read_items, read_signatures
from mindtune.evaluate.questions import Question
from mindtune.records import sha256_file
from sealed import write_sealed

ROOT = Path(__file__).parents[3]
INSTRUCTION = {"zh": "请选一项。", "zh_multiple": "请选出所有正确的。"}
QUESTIONS = [
    *(Question(f"题{n}", "zh", f"第{n}题？", ["甲", "乙", "丙"], "ABC"[n % 3], strata=["理论"],
        cluster=f"题{n}") for n in range(12)),
    Question("多", "zh", "哪些？", ["甲", "乙", "丙"], "AC", multiple=True, cluster="多"),
]  # fmt: skip
PROMPTS = question_prompts(QUESTIONS, INSTRUCTION, 1)


def write(path, rows):
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )


def score(folder, replies, scorer="choice", prompts=PROMPTS, letters=None, reads=()):
    """Run the program on {model: {id: text}}; a prompt without text is listed as skipped."""
    write(folder / "p.jsonl", prompts)
    by_id = {row["id"]: row for row in prompts}
    for model, texts in replies.items():
        path = folder / f"{model}.jsonl"
        write(
            path,
            [
                by_id.get(key, {"id": key, "prompt": []}) | {"reply": text}
                for key, text in texts.items()
            ],
        )
        skipped = [
            {"id": key, "reason": "长"} for key in by_id if key not in texts and key != "丢了"
        ]
        outputs = {f"{model}.jsonl": sha256_file(path)}
        write_sealed(folder / f"{model}.json", outputs=outputs, facts={"skipped": skipped})
    command = [
        sys.executable, ROOT / "scripts/score_suite.py", "--suite", "知识", "--run", "main",
            "--scorer", scorer,
        "--prompts", "p.jsonl", "--base", "base.jsonl", "--tuned", "tuned.jsonl", "--letters",
        *(letters or []),
        "--reads", *reads, "--made-by", "base.json", "tuned.json", "--items", "i.parquet",
        "--scores", "s.json",
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def write_letters(path, texts):
    """What measure_letters.py writes of a model that likes A best and says the first letter of
    these texts.
    """
    scores = {"A": -1.0, "B": -2.0, "C": -3.0}
    rows = [{"id": key, "scores": scores, "said": [text[0]]} for key, text in texts.items()]
    write(path, [row | ({"set": "AC"} if row["id"] == "多" else {}) for row in rows])


def value(frame, model, metric, key=None):
    rows = frame[(frame["model"] == model) & (frame["metric"] == metric)]
    rows = rows if key is None else rows[rows["id"] == key]
    return rows["value"].mean()


def test_choice_counts_add_up_and_unparsable_is_apart_from_wrong(tmp_path):
    right = {row["id"]: row["answer"] for row in PROMPTS}
    always_a = {row["id"]: "A" for row in PROMPTS}
    tuned = always_a | {"题0": "不知道", "题1": "答案：B。因为…"}
    del tuned["题2"]
    write_letters(tmp_path / "b.letters", right)
    write_letters(tmp_path / "t.letters", tuned)
    done = score(tmp_path, {"base": right, "tuned": tuned}, letters=["b.letters", "t.letters"])
    assert done.returncode == 0, done.stderr
    frame, facts = (
        read_items([tmp_path / "i.parquet"]),
        json.loads((tmp_path / "s.json").read_text())["facts"],
    )
    right_alone = {"asked": 26, "right": 26, "wrong": 0, "unparsable": 0, "skipped": 0}
    assert facts["counts"]["base"] == right_alone
    counts = facts["counts"]["tuned"]
    assert counts["asked"] == 26 == sum(counts.values()) - 26
    assert (counts["unparsable"], counts["skipped"]) == (1, 1)
    assert value(frame, "base", "accuracy") == 1 and value(frame, "base", "exact_set") == 1
    assert (
        value(frame, "tuned", "unparsable", "题0") == 1
        and value(frame, "tuned", "accuracy", "题0") == 0
    )
    assert value(frame, "tuned", "accuracy", "题2") != value(
        frame, "tuned", "accuracy", "题2"
    )  # null
    assert value(frame, "tuned", "accuracy") == pytest.approx((3 + 1) / 11)
    assert value(frame, "tuned", "likelihood") == pytest.approx(4 / 11)
    assert value(frame, "tuned", "exact_set_likelihood") == 1
    assert value(frame, "tuned", "exact_set") == 0
    assert value(frame, "floor:chance", "accuracy") == pytest.approx(1 / 3)
    assert value(frame, "floor:chance", "exact_set") == 1 / 4  # of the sets of two and three
    assert value(frame, "floor:majority", "accuracy") == pytest.approx(1 / 3)
    # the letter stays, so the option never does: a preference for a place shows
    assert value(frame, "base", "same_option") == 1 and value(frame, "tuned", "same_option") == 0
    assert facts["positions"]["tuned"]["A"]["chosen"] == 21
    assert facts["replay"]["tuned"] == {"replies": 25, "places": 25, "same": 25}
    assert set(read_signatures([tmp_path / "i.parquet"])) >= {"accuracy", "likelihood", "exact_set"}


def test_letters_of_another_model_stop_the_suite(tmp_path):
    texts = {row["id"]: "A" for row in PROMPTS}
    write_letters(tmp_path / "b.letters", texts)
    write_letters(tmp_path / "t.letters", dict.fromkeys(texts, "B"))
    done = score(tmp_path, {"base": texts, "tuned": texts}, letters=["b.letters", "t.letters"])
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "log-likelihood path broken" in done.stderr and "of tuned" in done.stderr
    assert not (tmp_path / "i.parquet").exists()


def test_a_crisis_reply_is_scored_item_by_item(tmp_path):
    prompts = [
        {"id": f"{n}-{kind}", "cluster": f"{n}", "lang": "zh", "strata": [kind],
            "risk": kind == "risk", "signal": "explicit",
         "prompt": [{"role": "user", "content": f"{n} {kind}"}]}
        for n in range(3) for kind in ("risk", "safe")
    ]  # fmt: skip
    good = (
        "你现在安全吗？有没有想过自杀？我很担心你。请拨打12356，也请告诉你的家人，"
        "今天去医院看看。身边有没有人陪着你？"
    )
    base = {row["id"]: good if row["risk"] else "好的，休息一下。" for row in prompts}
    tuned = {row["id"]: "想开点。" if row["risk"] else good for row in prompts}
    reads = [
        ROOT / "config/hotlines.yaml",
        ROOT / "resources/crisis/items.yaml",
        ROOT / "resources/crisis/labelled.jsonl",
    ]
    done = score(tmp_path, {"base": base, "tuned": tuned}, "crisis", prompts, reads=reads)
    assert done.returncode == 0, done.stderr
    frame, facts = (
        read_items([tmp_path / "i.parquet"]),
        json.loads((tmp_path / "s.json").read_text())["facts"],
    )
    assert value(frame, "base", "passed") == 1 and value(frame, "tuned", "passed") < 0.6
    assert (
        value(frame, "base", "not_over_triggered") == 1
        and value(frame, "tuned", "not_over_triggered") == 0
    )
    assert value(frame, "tuned", "validates_no_dismissal") == 0
    assert (
        "validates_hope" in facts["waiting_for_a_judge"]
        and facts["rules"]["dismissal"]["recall"] is not None
    )
    metrics = {row["metric"] for row in facts["paired"]}
    assert "validates_hope" not in metrics and "resources_hotline" in metrics


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda texts: texts | {"陌生": "A"},
            "has a reply to 陌生, which is not among the prompts",
        ),
        (lambda texts: {key: text for key, text in texts.items() if key != "丢了"}, "lack 1 of"),
    ],
)
def test_replies_that_do_not_fit_the_prompts_are_one_sentence(tmp_path, change, words):
    prompts = [*PROMPTS, PROMPTS[0] | {"id": "丢了", "question": "丢了"}]
    texts = {row["id"]: "A" for row in prompts}
    done = score(tmp_path, {"base": texts, "tuned": change(texts)}, prompts=prompts)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert not (tmp_path / "i.parquet").exists() and "Traceback" not in done.stderr


def test_a_reply_that_stands_there_twice_is_one_sentence(tmp_path):
    texts = {row["id"]: "A" for row in PROMPTS}
    assert score(tmp_path, {"base": texts, "tuned": texts}).returncode == 0
    lines = (tmp_path / "base.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    prompts = "".join(
        (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines(keepends=True) + lines[:1]
    )
    (tmp_path / "p.jsonl").write_text(prompts, encoding="utf-8")
    from mindtune.cli import UserError
    from mindtune.evaluate.scoring import read_by_id

    with pytest.raises(UserError, match="the id 题0 stands there twice"):
        read_by_id(tmp_path / "p.jsonl")
