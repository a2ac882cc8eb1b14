"""Scores of Chinese and English replies: right tokenizer, empty replies counted, dialogues
resampled, floors beside.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mindtune.evaluate import metrics
from mindtune.records import sha256_file
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF
from sealed import write_sealed

SCRIPT = Path(__file__).parents[3] / "scripts" / "score_dialogue.py"
FIXED = {
    "zh": "谢谢你愿意告诉我这些，我会陪着你。",
    "en": "Thank you for telling me this, I am here with you.",
}
SETTINGS = {"seed": 42, "resamples": 200, "fixed_line": FIXED}
# (dialogue, client, counsellor, reply of the base model, reply of the tuned model)
TURNS = [
    ("失眠", "我最近总是睡不着，一躺下就想工作。", "听起来你很疲惫。"
"睡前你会想哪些事情呢？", "好的。", "听起来你很累。睡前你都会想些什么呢？"),
    ("失眠", "想明天的会议，心跳得很快。", "心跳加快是焦虑的信号，"
"我们可以先试试缓慢呼吸。", "", "心跳加快常常是焦虑的表现，先试试缓慢呼吸吧。"),
    ("考试", "我的 PHQ-9 得分是 15 分，是抑郁吗？", "PHQ-9 得分 15 属于中重度，"
"建议你去医院做一次评估。", "不是。", "PHQ-9 得 15 分提示中重度，建议去医院评估。"),
    ("考试", "我怕爸妈知道。", "你担心他们的反应，这种害怕很真实。"
"你愿意说说吗？", "别怕。", "你担心爸妈的反应，这很真实。愿意多说说吗？"),
    ("分手", "他走了以后我什么都不想做。", "失去重要的人之后没有力气，"
"是很常见的哀伤反应。", "加油。", "失去他之后没有力气，是常见的哀伤反应。"),
    ("work", "I can't stop worrying about my job.", "That sounds exhausting. What worries you most "
"about it?", "OK.",
     "That sounds tiring. What worries you most about it?"),
    ("family", "My mother never listens to me.", "It hurts when she does not listen. What would "
"you want her to hear?", "I see.",
     "It hurts when your mother does not listen. What should she hear?"),
]  # fmt: skip


def reply_rows(position: int) -> list[dict]:
    """The rows of a replies file; position 3 is the base model's reply, 4 the tuned one's."""
    return [
        {
            "id": f"{turn[0]}#{number}",
            "dialogue": turn[0],
            "turn": number,
            "prompt": [
                {"role": "system", "content": "你是一位心理咨询师。"},
                {"role": "user", "content": turn[1]},
            ],
            "reference": turn[2],
            "reply": turn[position],
            "finish_reason": "length" if number == 6 else "stop",
            "prompt_tokens": 9,
            "completion_tokens": 9,
        }
        for number, turn in enumerate(TURNS)
    ]


def column(position: int) -> list[str]:
    return [turn[position] for turn in TURNS]


def compared(
    systems: dict, references: list[str], dialogues: list[str], resamples: int = 200
) -> tuple[dict, dict]:
    """Rows by (system, metric) and paired differences by metric."""
    reasons = {name: ["stop"] * len(references) for name in ("base", "tuned")}
    rows, paired = metrics.compare(
        systems, references, dialogues, reasons, seed=1, resamples=resamples
    )
    return {(row["system"], row["metric"]): row for row in rows}, {
        row["metric"]: row for row in paired
    }


def scores(replies: list[str], references: list[str]) -> dict[str, float]:
    return {
        m.name: m.score(m.statistics.sum(axis=0)) for m in metrics.measures(replies, references)
    }


def test_tokens_are_chinese_characters_whole_words_numbers_and_marks():
    found = metrics.tokenize("我做了PHQ-9，得15.5分！I don't know…")
    assert list(found) == [
        "我",
        "做",
        "了",
        "phq-9",
        "，",
        "得",
        "15.5",
        "分",
        "！",
        "i",
        "don't",
        "know",
        "…",
    ]


def test_identical_replies_score_full_marks_in_both_languages():
    found = scores(column(2), column(2))
    for name in ("BLEU", "chrF", "ROUGE-1", "ROUGE-2", "ROUGE-L"):
        assert found[name] == pytest.approx(100), name
    assert found["length_ratio"] == 1


def test_different_chinese_around_the_same_number_is_not_identical():
    reply, reference = "PHQ-9 得分 15 分", "PHQ-9 结果 15，属于中重度"
    assert RougeScorer(["rouge1"]).score(reference, reply)["rouge1"].fmeasure == 1, (
        "the trap this test is about"
    )
    assert 0 < scores([reply], [reference])["ROUGE-1"] < 60


def test_repeating_the_reference_is_punished_and_shown():
    found = scores(["好 的 " * 4], ["好 的"])
    assert found["ROUGE-1"] == pytest.approx(40)
    assert found["length_ratio"] == 4
    assert found["repetition"] == pytest.approx(3 / 5)  # 5 four-grams, 2 different
    assert metrics.distinct(["好 的 " * 4], 1) == 2 / 8


def test_summed_statistics_give_sacrebleus_own_corpus_scores():
    found = scores(column(4), column(2))
    assert found["BLEU"] == BLEU(tokenize="zh").corpus_score(column(4), [column(2)]).score
    assert found["chrF"] == CHRF().corpus_score(column(4), [column(2)]).score
    assert 10 < found["BLEU"] < 90


def test_signatures_name_the_chinese_tokenizer():
    found = {measure.name: measure.signature for measure in metrics.measures(column(4), column(2))}
    assert "tok:zh" in found["BLEU"] and "version:" in found["BLEU"]
    assert found["chrF"].startswith("nrefs:1|") and "tok:cjk-char+word" in found["ROUGE-L"]


def test_sacrebleus_zh_tokenizer_serves_mixed_text():
    tokenizer = BLEU(tokenize="zh").tokenizer
    assert tokenizer("用 mindfulness 练习CBT。").split() == [
        "用",
        "mindfulness",
        "练",
        "习",
        "CBT",
        "。",
    ]
    english = [turn for turn in TURNS if not metrics.is_chinese(turn[2])]
    replies, references = [turn[4] for turn in english], [turn[2] for turn in english]
    assert (
        BLEU(tokenize="zh").corpus_score(replies, [references]).score
        == BLEU().corpus_score(replies, [references]).score
    )


def test_empty_replies_count_as_zero():
    half = [reference if number % 2 else " " for number, reference in enumerate(column(2))]
    rows, _ = compared({"base": half, "tuned": column(2)}, column(2), column(0))
    assert rows["base", "empty"]["value"] == 4 and rows["tuned", "empty"]["value"] == 0
    assert rows["base", "ROUGE-L"]["value"] == pytest.approx(100 * 3 / 7, abs=1e-4)
    assert rows["base", "BLEU"]["value"] < 60, "the brevity penalty sees the missing replies"
    assert all(row["n"] == 7 and row["n_dialogues"] == 5 for row in rows.values())


def test_silence_everywhere_scores_zero_without_an_error():
    rows, _ = compared({"base": [""] * 7, "tuned": [""] * 7}, column(2), column(0))
    for name in ("BLEU", "chrF", "ROUGE-1", "ROUGE-L", "distinct-1", "repetition", "length_ratio"):
        assert rows["base", name]["value"] == 0, name


def test_intervals_resample_dialogues_not_turns():
    names = [turn[0] for turn in TURNS]
    once, _ = compared({"base": column(3), "tuned": column(4)}, column(2), names)
    systems = {"base": column(3) * 5, "tuned": column(4) * 5}
    often, _ = compared(systems, column(2) * 5, names * 5)
    alone, _ = compared(
        systems, column(2) * 5, [f"{name}{number}" for number, name in enumerate(names * 5)]
    )

    def width(rows: dict) -> float:
        return rows["tuned", "ROUGE-1"]["high"] - rows["tuned", "ROUGE-1"]["low"]

    assert width(often) == pytest.approx(width(once)), (
        "the same turn five times over is no new evidence"
    )
    assert width(alone) < 0.7 * width(once)


def test_every_resample_draws_as_many_dialogues_as_there_are():
    counts = metrics.resample_counts(5, 300, seed=3)
    assert counts.shape == (300, 5) and set(counts.sum(axis=1)) == {5.0}
    assert counts.mean() == 1 and np.array_equal(counts, metrics.resample_counts(5, 300, seed=3))


def test_paired_difference_finds_improvement_and_nothing_between_equals():
    rows, paired = compared({"base": column(3), "tuned": column(4)}, column(2), column(0))
    found = paired["ROUGE-L"]
    tuned, base = rows["tuned", "ROUGE-L"]["value"], rows["base", "ROUGE-L"]["value"]
    assert found["difference"] == pytest.approx(tuned - base, abs=2e-4)
    assert 0 < found["low"] < found["difference"] < found["high"] and found["p"] < 0.05
    _, same = compared({"base": column(4), "tuned": column(4)}, column(2), column(0))
    assert (
        same["BLEU"]["difference"],
        same["BLEU"]["low"],
        same["BLEU"]["high"],
        same["BLEU"]["p"],
    ) == (0, 0, 0, 1)


def test_language_by_share_of_chinese_words():
    assert metrics.is_chinese("用 CBT 和 mindfulness 练习")
    assert not metrics.is_chinese("I told her 我爱你 yesterday and she smiled")


def test_floors_hold_no_counselling():
    rows = reply_rows(4)
    found = metrics.floors(rows, FIXED, seed=42)
    assert found == metrics.floors(rows, FIXED, seed=42)
    home = {row["reference"]: row["dialogue"] for row in rows}
    for row, drawn in zip(rows, found["floor:random"], strict=True):
        assert home[drawn] != row["dialogue"]
        assert metrics.is_chinese(drawn) is metrics.is_chinese(row["reference"])
    assert found["floor:echo"] == column(1)
    assert found["floor:fixed"] == [FIXED["zh"]] * 5 + [FIXED["en"]] * 2


def test_random_floor_leaves_the_language_only_if_it_must():
    found = metrics.random_references(["你好", "再见", "hello"], ["a", "a", "b"], seed=0)
    assert found[:2] == ["hello", "hello"] and found[2] in ("你好", "再见")


def run_script(
    folder: Path, base: list[dict], tuned: list[dict], *words: str
) -> subprocess.CompletedProcess:
    for name, rows in (("base", base), ("tuned", tuned)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    settings = json.dumps(SETTINGS, ensure_ascii=False)
    command = [
        sys.executable,
        SCRIPT,
        "--base",
        "base.jsonl",
        "--tuned",
        "tuned.jsonl",
        "--settings",
        settings,
    ]
    return subprocess.run(
        [*command, *words, "--scores", "s.json"],
        cwd=folder,
        check=False,
        capture_output=True,
        encoding="utf-8",
    )


def test_program_writes_the_same_record_whatever_the_order_of_the_tuned_file(tmp_path: Path):
    done = run_script(tmp_path, reply_rows(3), reply_rows(4))
    assert done.returncode == 0, done.stderr
    assert "scored 7 replies of 5 dialogues" in done.stdout
    record = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    facts = record["facts"]
    assert (
        record["stage"] == "score_dialogue"
        and facts["suite"] == "dialogue"
        and facts["languages"] == {"zh": 5, "en": 2}
    )
    assert {row["system"] for row in facts["rows"]} == {
        "base",
        "tuned",
        "floor:random",
        "floor:echo",
        "floor:fixed",
    }
    found = {(row["system"], row["metric"]): row["value"] for row in facts["rows"]}
    assert found["base", "empty"] == 1 and found["tuned", "truncated"] == 1
    assert found["tuned", "BLEU"] > found["floor:fixed", "BLEU"]
    assert run_script(tmp_path, reply_rows(3), reply_rows(4)[::-1]).returncode == 0
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["facts"] == facts


def changed(rows: list[dict], number: int, **values: object) -> list[dict]:
    return [row | values if position == number else row for position, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("tuned", "sentence"),
    [
        (reply_rows(4)[:-1], "different turns"),
        (
            changed(
                reply_rows(4),
                2,
                prompt=[{"role": "user", "content": "我的 PHQ-9 得分是 15 分，是抑郁吗？"}],
            ),
            "prompt of 考试#2",
        ),
        (changed(reply_rows(4), 1, reference="别的参考"), "reference of 失眠#1"),
        (changed(reply_rows(4), 0, reply=None), "line 1: 'reply' is None"),
        (changed(reply_rows(4), 1, id="失眠#0"), "stands there twice"),
    ],
)
def test_replies_to_other_prompts_stop_with_one_sentence(
    tmp_path: Path, tuned: list[dict], sentence: str
):
    done = run_script(tmp_path, reply_rows(3), tuned)
    assert done.returncode == 2
    assert sentence in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "s.json").exists()


def test_one_dialogue_is_too_few(tmp_path: Path):
    done = run_script(tmp_path, reply_rows(3)[:2], reply_rows(4)[:2])
    assert done.returncode == 2 and "holds 1 dialogue(s)" in done.stderr


def test_replies_that_were_changed_after_they_were_given_are_not_scored(tmp_path: Path):
    """A forged reply in a file that holds the same prompts: the record of the replies has the
    file's hash.
    """
    assert run_script(tmp_path, reply_rows(3), reply_rows(4)).returncode == 0
    for name in ("base", "tuned"):
        outputs = {f"{name}.jsonl": sha256_file(tmp_path / f"{name}.jsonl")}
        write_sealed(tmp_path / f"{name}.json", "generate_replies", outputs=outputs)
    records = ("--made-by", "base.json", "tuned.json")
    assert run_script(tmp_path, reply_rows(3), reply_rows(4), *records).returncode == 0
    (tmp_path / "s.json").unlink()
    done = run_script(
        tmp_path, reply_rows(3), changed(reply_rows(4), 3, reply="我很理解您的感受。"), *records
    )
    assert (
        done.returncode == 2
        and done.stderr.startswith("error: tuned.jsonl has SHA-256")
        and done.stderr.count("\n") == 1
    )
    assert not (tmp_path / "s.json").exists()
