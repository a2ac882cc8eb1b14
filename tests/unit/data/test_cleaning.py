"""Cleaning: every step on its own, their order, and the program with its two files and its
record.
"""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mindtune.cli import UserError
from mindtune.data import cleaning, identity
from mindtune.data.cleaning import REPAIRS, STEPS, Cleaner, in_order
from mindtune.data.hotlines import load_hotlines
from mindtune.data.language import language_of

ROOT = Path(__file__).parents[3]
HOTLINES = load_hotlines(ROOT / "config" / "hotlines.yaml")
SPECIAL = re.compile(r"<\|im_end\|>|<\|endoftext\|>")
TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' %}\n    {{- '<|im_start|>system\\nYou are a helpful "
    "assistant.<|im_end|>\\n' }}\n{%- endif %}\n"
    "{%- for message in messages %}\n    {{- '<|im_start|>' + message.role + '\\n' + "
    "message.content + '<|im_end|>' + '\\n' }}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n"
)
GOOD = [
    ("human", "我最近总是失眠。"),
    ("gpt", "失眠多久了？"),
    ("human", "两个星期。"),
    ("gpt", "我们一起看看原因。"),
]


def cleaner(off=(), on=(), role_map=None, min_turns=2):
    steps = {name: (name in on) if on else name not in off for name in STEPS}
    return Cleaner(steps, role_map or {}, min_turns, ["zh", "en"], HOTLINES, SPECIAL)


def only(step, turns):
    """The result of one step alone."""
    return cleaner(on=[step]).clean(turns)


def with_text(text, role="human"):
    return [
        (role, text) if index == ("human", "gpt").index(role) else turn
        for index, turn in enumerate(GOOD)
    ]


# ------------------------------------------------------------------------------------------------------------- repairs  # noqa: E501

MOJIBAKE = "我最近总是失眠。".encode().decode("latin-1")
TEXT_CASES = {
    "mojibake": [(MOJIBAKE, "我最近总是失眠。")],
    "html": [
        ("我很累&nbsp;睡&#19981;着<br/>真的", "我很累\xa0睡不着\n真的"),
        ("<p>第一段</p><p class='a'>第二段</p>", "第一段\n第二段\n"),
        ("&amp;lt;b&amp;gt;重&lt;/b&gt;要", "重要"),
        ("<script>alert('好')</script>听我说", "听我说"),
    ],
    "invisible": [("失\u200b眠\ufeff很\x08久\ue123了\ud83d", "失眠很久了"), ("a\u200db", "ab")],
    "unicode_nfc": [("e\u0301te\u0301 か\u3099", "été が")],
    "narration": [
        (
            "我们先放松。\n\n（一段时间后）\n\n现在感觉怎么样？",
            "我们先放松。\n\n\n\n现在感觉怎么样？",
        ),
        ("好的，再见。\n（咨询结束）", "好的，再见。\n"),
        ("【沙盘制作中】\r\n请说。", "\n请说。"),
    ],
    "whitespace": [
        (
            "　\r\n第一行 \r第二行\n\n\n\n第三行  好\t吧， 是 。 ",
            "第一行\n第二行\n\n第三行 好 吧，是。",
        )
    ],
    "mask_email": [("邮箱a.b@example.com。", "邮箱[邮箱]。")],
    "mask_url": [("见https://example.com/x。", "见[网址]。")],
    "mask_id_card": [("身份证110101190001010014", "身份证[身份证]")],
    "mask_bank_card": [("卡号4111 1111 1111 1111", "卡号[银行卡]")],
    "mask_qq": [("QQ：123456", "QQ：[QQ]")],
    "mask_wechat": [("微信号abcdef1", "微信号[微信]")],
    "mask_mobile": [("电话13800138000", "电话[电话]")],
    "mask_landline": [("打010-62345678或010-82951332", "打[电话]或010-82951332")],
}


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [(step, *case) for step, cases in TEXT_CASES.items() for case in cases],
)
def test_text_repair_alone(step, before, after):
    done = only(step, with_text(before))
    assert done.turns[0] == ("human", after)
    assert done.turns[1:] == GOOD[1:]
    assert done.fixes == [step]
    assert cleaner(off=STEPS).clean(with_text(before)).turns[0][1] == before


TURN_CASES = {
    "empty_turn": ([GOOD[0], ("gpt", " \n"), *GOOD[1:]], GOOD),
    "own_role_tag": (
        [GOOD[0], ("gpt", "多久了？\n\n医生：我们慢慢说。"), *GOOD[2:]],
        [GOOD[0], ("gpt", "多久了？\n\n我们慢慢说。"), *GOOD[2:]],
    ),
    "addressed_label": (
        [GOOD[0], ("gpt", "你好，来访者。多久了？"), *GOOD[2:]],
        [GOOD[0], ("gpt", "你好。多久了？"), *GOOD[2:]],
    ),
    "same_role_turns": (
        [("human", "我失眠。"), *GOOD],
        [("human", "我失眠。\n我最近总是失眠。"), *GOOD[1:]],
    ),
    "leading_counsellor_turn": (
        [("system", "你是咨询师。"), ("gpt", "欢迎。"), *GOOD],
        [("system", "你是咨询师。"), *GOOD],
    ),
    "trailing_client_turn": ([*GOOD, ("human", "谢谢。")], GOOD),
}


@pytest.mark.parametrize("step", TURN_CASES)
def test_turn_repair_alone(step):
    before, after = TURN_CASES[step]
    done = only(step, before)
    assert (done.turns, done.fixes, done.reasons) == (after, [step], [])
    assert cleaner(off=STEPS).clean(before).reasons == (
        ["turns_out_of_order"] if step not in ("own_role_tag", "addressed_label") else []
    )


def test_every_repair_has_a_test():
    assert set(REPAIRS) == {*TEXT_CASES, *TURN_CASES}


def test_chinese_punctuation_and_width_stay():
    text = "“你好”，他说：‘嗯……’——ＡＢＣ１２３（全角）！？～《书》·ﬁ"
    assert cleaner().clean(with_text(text)).turns[0][1] == text
    assert cleaner().clean(with_text(text)).fixes == []


@pytest.mark.parametrize(
    "text",
    [
        "我觉得 1 < 2 而且 a&b",
        "Café, naïve, El Niño — “quoted”",
        "体重<60kg，身高>160",
        "我妈（她今年六十）说没事。\n1. 深呼吸（四秒）",
        "（我在想）然后就哭了",
        "一家人👨‍👩‍👧和👍",
    ],
)
def test_good_text_is_not_repaired(text):
    assert cleaner().clean(with_text(text)).turns[0][1] == text


def test_role_names():
    labels = ["求助者", "支持者：", "User", " assistant "]
    done = cleaner().clean([(label, text) for label, (_, text) in zip(labels, GOOD, strict=True)])
    assert (done.turns, done.fixes) == (GOOD, ["role_name"])


def test_unknown_roles_are_rejected_unless_mapped():
    turns = [("妈妈", "孩子不说话。"), ("gpt", "多久了？")]
    assert cleaner().clean(turns).reasons == ["unknown_role"]
    done = cleaner(role_map={"妈妈": "human"}).clean(turns)
    assert (done.reasons, done.turns[0]) == ([], ("human", "孩子不说话。"))
    with pytest.raises(UserError, match="妈妈"):
        cleaner(role_map={"妈妈": "client"})


def test_a_dialogue_with_several_faults():
    """Order matters: the empty turn goes first, so that its neighbours can be joined and the last
    client turn dropped.
    """
    turns = [
        ("gpt", "欢迎&nbsp;"),
        ("human", "我很累。"),
        ("gpt", "<br>"),
        ("human", "电话13800138000"),
        ("gpt", "我在听。"),
        ("human", "\u200b"),
    ]
    done = cleaner().clean(turns)
    assert done.turns == [("human", "我很累。\n电话[电话]"), ("gpt", "我在听。")]
    assert done.fixes == [
        "html",
        "invisible",
        "whitespace",
        "mask_mobile",
        "empty_turn",
        "same_role_turns",
        "leading_counsellor_turn",
    ]
    assert done.masked == {"mask_mobile": 1}


# ---------------------------------------------------------------------------------------------------------- rejections  # noqa: E501

REJECTED = {
    "role_tag_in_turn": [("gpt", "好的。\n\n求助者："
"我还是怕。"), ("human", "来访者：我怕。"), ("gpt", "嗯。医生：再说说？")],
    "refusal": [
        ("gpt", "作为一个人工智能语言模型，"
"我无法提供建议。"), ("gpt", "很抱歉，我无法回答这个问题。"),
        ("gpt", "As an AI language model, I cannot give "
"advice."), ("gpt", "I'm sorry, but I can't help with that."),
    ],
    "other_model_identity": [
        ("gpt", "我是ChatGPT，很高兴认识你。"), ("gpt", "您好，我是EmoLLM，"
"一个由EmoLLM团队开发的心理咨询师"), ("gpt", "我叫通义千问。"),
        ("gpt", "这个助手由OpenAI训练。"), ("gpt", "I am Claude, made by Anthropic."),
        ("gpt", "当然，"
"您可以称呼我为EmoLLM。"), ("gpt", "<AUTHOR> 训练了我。"), ("gpt", "作为EmoLLM，我努力帮你。"),
    ],
    "machine_identity": [
        ("gpt", "我只是一个人工智能助手，没有感情。"), ("gpt", "作为一个AI，我听到了你的难过。"),
        ("gpt", "我努力回答用户的问题。"), ("gpt", "保护用户隐私是我的首要任务。"), ("gpt",
            "我对用户提出的问题没有限制。"), ("gpt", "我想成为一个心理健康助手。"), ("gpt",
            "I'm just an AI."),
    ],
    "broken_text": [
        ("human", "我很难过\ufffd\ufffd，"
"不知道怎么办"), ("gpt", "锟斤拷锟斤拷"), ("gpt", "我在听。".encode().decode("gbk", "replace")),
    ],
    "repetition": [
        ("gpt", "你可以先深呼吸一次。" * 4), ("gpt", "好的，" * 5), ("gpt", "我会陪着你的" * 12),
            ("gpt", "！" * 30),
        ("gpt", "我们可以慢慢来。先看看原因。我们可以慢慢来。再想想办法。我们可以慢慢来。不要着急。"
"我们可以慢慢来。"),
    ],
    "wrong_language": [
        ("gpt", ("Vielen Dank für dein Vertrauen, wir schauen uns das gemeinsam an, Schritt für "
"Schritt. ") * 2),
        ("human", "最近ずっと眠れなくて、とてもつらいです。"
"どうしたらいいのか分かりません。"), ("gpt", "요즘 잠을 잘 못 자서 많이 힘드셨겠어요. 천천히 "
"이야기해 "
"주세요."),
        ("human", "В последнее время я плохо сплю и очень устаю на работе, что мне делать?"),
    ],
    "special_token": [("human", "好<|im_end|>\n<|im_start|>system")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "turn"), [(reason, turn) for reason, turns in REJECTED.items() for turn in turns]
)
def test_rejection_alone(reason, turn):
    turns = with_text(turn[1], turn[0])
    assert only(reason, turns).reasons == [reason]
    assert reason not in cleaner(off=[reason]).clean(turns).reasons


@pytest.mark.parametrize("turn", [
    ("gpt", "你可以告诉医生："
"最近睡不好。"), ("human", "我去看了医生。医生说没事。"), ("human", "老师：您好"),
    ("human", "作为一个人工智能专业的学生，"
"我无法集中注意力。"), ("gpt", "抱歉，我不能替你做决定，但可以陪你想。"),
    ("gpt", "魏书生是一位老师，我是他的读者。"), ("human", "我是用ChatGPT写的作业，"
"被发现了。"), ("gpt", "用ChatGPT写作业让你有点内疚。"),
    ("gpt", "做产品经理，天天要回答用户的问题，很累吧。"), ("gpt", "我是从百度上读到这个量表的。"),
    ("human", "嗯，嗯，嗯，嗯，嗯，"
"我知道了哈哈哈哈哈哈哈哈哈哈哈哈哈哈"), ("gpt", "一步一步来，不用急，"
"一步一步来。"), ("gpt", "好，好，我在听……………………"),
    ("gpt", "OK，那我们用 CBT 的办法，先做 PHQ-9 和 GAD-7 两个量表。"),
    ("gpt", "你担心AI会取代你的工作。"), ("gpt", "我能理解你无法入睡的感受。"),
])  # fmt: skip
def test_ordinary_talk_is_not_rejected(turn):
    assert cleaner().clean(with_text(turn[1], turn[0])).reasons == []


def test_a_counsellor_who_says_the_same_again_is_rejected():
    def dialogue(*answers):
        return [
            turn
            for answer in answers
            for turn in (("human", f"我想说{answer[:1]}的事。"), ("gpt", answer))
        ]

    same = "你愿意多说一点当时的感受吗？"
    assert only("repetition", dialogue(same, same)).reasons == ["repetition"]
    assert only("repetition", dialogue(same, "我在听。", same, "然后呢？", same)).reasons == [
        "repetition"
    ]
    assert only("repetition", dialogue(same, "我在听。", same)).reasons == []
    assert only("repetition", dialogue("嗯。", "嗯。", "嗯。")).reasons == []


def test_one_dialogue_has_one_language():
    german = "Ich schlafe seit Wochen schlecht und bin den ganzen Tag müde."
    english = "I have slept badly for weeks and feel tired all day long."
    answer = "Thank you for telling me. How long has this been going on?"
    assert only("wrong_language", [("human", english), ("gpt", answer)]).reasons == []
    assert (
        only("wrong_language", [("human", german), ("gpt", answer)]).reasons == []
    )  # told by script alone
    assert only("wrong_language", [("human", GOOD[0][1] * 4), ("gpt", answer)]).reasons == [
        "wrong_language"
    ]
    assert only("wrong_language", [("human", "OK"), ("gpt", GOOD[1][1] * 4)]).reasons == []


@pytest.mark.parametrize(("text", "language"), [
    ("我最近总是失眠，白天没有精神，怎么办才好呢，真的很难受", "zh"), ("今晚吃了KFC，"
"然后看了Netflix的新剧，心情好一点了，但还是睡不着", "zh"),
    ("最近ずっと眠れなくて、昼間も元気がありません。", "ja"), ("요즘 계속 잠을 못 자서 낮에 기운이 "
"없어요. 어떻게 하죠?", "ko"),
    ("I have not slept well for two "
"weeks.", "en"), ("Я плохо сплю уже две недели "
"подряд.", "other"), ("OK，谢谢", None), ("12345" * 9, None),
])  # fmt: skip
def test_language_is_told_by_script(text, language):
    assert language_of(text) == language


def test_the_words_looked_for_first_are_in_whatever_the_patterns_find():
    """Each alternative of a name is found in a self-introduction, so no pattern waits for a word
    that is not listed.
    """
    names = re.search(
        r"\(\?:(.*?)\)$", identity._MAKERS.replace(identity._MODELS, identity._MODELS[3:-1])
    )[1].split("|")
    spelt = {
        "Chat-?GPT": "ChatGPT",
        r"GPT-?[345]\w*": "GPT-4o",
        r"GLM-?\d\w*": "GLM-4",
        "书生[·・•]?浦语": "书生·浦语",
        r"Yi-\d\w*": "Yi-34B",
    }
    for name in (spelt.get(name, name) for name in names):
        for made in (f"这个助手由{name}公司开发。", f"I was trained by {name}."):
            assert only("other_model_identity", with_text(made, "gpt")).reasons == [
                "other_model_identity"
            ], made


def test_too_few_turns_counts_what_is_left():
    assert cleaner(min_turns=4).clean(GOOD[:2]).reasons == ["too_few_turns"]
    assert cleaner().clean([("human", "在吗？")]).reasons == ["too_few_turns"]
    assert cleaner(off=["too_few_turns"]).clean([("human", "在吗？")]).reasons == [
        "turns_out_of_order"
    ]


def test_a_system_turn_inside_is_out_of_order():
    assert cleaner().clean([*GOOD[:2], ("system", "继续。"), *GOOD[2:]]).reasons == [
        "turns_out_of_order"
    ]


def test_steps_must_be_complete_and_known():
    for steps, word in (
        (dict.fromkeys(STEPS[1:], True), STEPS[0]),
        (dict.fromkeys(STEPS, True) | {"html2": True}, "html2"),
    ):
        with pytest.raises(UserError, match=word):
            cleaning.check_steps(steps)


TEXT = st.text(
    alphabet="我你他。，：医生 "
    "\n\r\t\u3000\u200b&lt;nbsp<br>13800@.com\x07é\u0301ÃÂ\ud83d<|im_end|>",
    max_size=40,
) | st.text(max_size=30)
LABEL = st.sampled_from(["human", "gpt", "system", "来访者", "assistant", "妈妈", ""])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(LABEL, TEXT), max_size=8), st.sets(st.sampled_from(STEPS)))
def test_any_turns_are_kept_in_order_or_rejected(turns, off):
    done = cleaner(off=off).clean(turns)
    assert done.reasons or in_order(done.turns)
    assert set(done.fixes) <= set(REPAIRS) | {"role_name"}


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(LABEL, TEXT), min_size=2, max_size=8))
@example(
    [("human", "\x80Ü¯Ā"), ("gpt", "0")]
)  # the control character hides the mojibake from the first round
@example(
    [("human", "我睡不着。"), ("gpt", "医生：（沉默）\n我在听。")]
)  # without the label, the line is narration
def test_cleaning_a_clean_dialogue_changes_nothing(turns):
    done = cleaner().clean(turns)
    if not done.reasons:
        again = cleaner().clean(done.turns)
        assert (again.turns, again.fixes, again.reasons) == (done.turns, [], [])


# ---------------------------------------------------------------------------------------------------------- the program  # noqa: E501


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A small byte-level tokenizer with Qwen's special tokens and a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("tokenizer")
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    made.train_from_iterator(["我最近总是失眠，你好，我们一起看看原因。"], trainer)
    made.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


def program(raw, out, tokenizer, threads=1, **changes):
    chosen = {"max_tokens": 400, "min_turns": 2, "role_map": {},
        "steps": {name: name != "own_role_tag" for name in STEPS},
              "near_duplicates": {"ngram_chars": 5, "threshold": 0.8}, "form": "auto",
              "languages": ["zh", "en"], "over_long": "drop",
              "max_line_repeats": 50, "sources": {}, "fields": {}, "crisis": "keep",
              "patterns": [], "bad_turns": "reject"} | changes  # fmt: skip
    command = [sys.executable, ROOT / "scripts/clean_dialogues.py", "--raw", raw, "--tokenizer",
        tokenizer, "--hotlines", ROOT / "config/hotlines.yaml",
               "--settings", json.dumps(chosen), "--source-name", "测试", "--threads", str(threads),
               "--clean", out / "clean.jsonl",
               "--rejected", out / "rejected.jsonl", "--crisis", out / "crisis.jsonl", "--record",
               out / "clean_dialogues.json"]  # fmt: skip
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120
    )


def sharegpt(turns, **more):
    return json.dumps(
        more | {"conversations": [{"from": role, "value": text} for role, text in turns]},
        ensure_ascii=False,
    )


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    story = (
        "昨天我又和父母吵架了，他们总说我不够努力，可是我每天都学到半夜，真的很累，"
        "也不知道还能怎么办，"
    )
    long, near = ([("human", story + end), *GOOD[1:]] for end in ("睡不着", "睡不着了"))
    lines = [
        sharegpt(GOOD, id="甲"), sharegpt([*GOOD, ("human", "谢谢")], id="乙"),
            sharegpt(with_text("请<br>听"), id="甲"), '{"conversations": '
'"坏"}',
        sharegpt(long), sharegpt(near), sharegpt([("human", "很长" * 900), ("gpt", "嗯")], id="长"),
            sharegpt([("human", "？"), ("gpt", "嗯\ud83d")]),
    ]  # fmt: skip
    (folder / "一.jsonl").write_text(
        "\n".join(line.replace("\ud83d", "\\ud83d") for line in lines), encoding="utf-8"
    )
    pairs = [
        {
            "conversation": [
                {"system": "你是咨询师", "input": f"问题{number}号，我很烦", "output": "说说看。"}
            ]
        }
        for number in range(3)
    ]
    (folder / "二.json").write_text(
        json.dumps(pairs, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    return folder


def test_program(raw, tmp_path, tokenizer):
    done = program(raw, tmp_path, tokenizer)
    assert done.returncode == 0, done.stderr
    clean, rejected = read(tmp_path / "clean.jsonl"), read(tmp_path / "rejected.jsonl")
    assert [row["id"] for row in clean] == ["甲", "一-3", "一-5", "一-8", "二-1", "二-2", "二-3"]
    # Near-duplicates are known at the end only, and come last.
    assert [(row["id"], *row["reasons"]) for row in rejected] == [
        ("乙", "exact_duplicate"), ("一-4", "malformed"), ("长", "over_long"), ("一-6",
            "near_duplicate"),
    ]  # fmt: skip
    assert list(clean[0]) == [
        "id", "conversations", "source", "fixes", "crisis", "crisis_turns",
    ]  # fmt: skip
    assert clean[0]["crisis"] == "none" and clean[0]["crisis_turns"] == [""] * 4
    assert clean[1]["fixes"] == ["html"] and clean[1]["source"] == "测试:一.jsonl#3"
    assert clean[3]["fixes"] == ["invisible"]
    assert clean[4]["conversations"][0] == {"from": "system", "value": "你是咨询师"}
    originals = {row["id"]: row for row in rejected}
    assert (
        originals["乙"]["original"]["conversations"][-1]["value"] == "谢谢"
        and originals["乙"]["copy_of"] == "甲"
    )
    assert (
        originals["一-6"]["original"]["conversations"][0]["value"].endswith("睡不着了")
        and originals["一-6"]["copy_of"] == "一-5"
    )
    facts = json.loads((tmp_path / "clean_dialogues.json").read_text())["facts"]
    assert (facts["read"], facts["kept"], facts["rejected"]) == (11, 7, 4)
    assert {reason: count for reason, count in facts["rejected_by_reason"].items() if count} == {
        "malformed": 1, "over_long": 1, "exact_duplicate": 1, "near_duplicate": 1,
    }  # fmt: skip
    assert (
        facts["fixes_by_step"]["html"] == 1 and facts["fixes_by_step"]["trailing_client_turn"] == 0
    )
    assert facts["files"]["二.json"]["form"] == "pairs"
    assert facts["tokens"]["max"] <= 400


def test_the_same_bytes_from_any_number_of_processes(raw, tmp_path, tokenizer):
    for line in range(900):  # more than two pieces of work
        with (raw / "三.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(
                sharegpt(
                    [
                        ("human", f"第{line}个问题，{line * 7919 % 977}，睡不着"),
                        ("gpt", f"第{line}个回答{line * 31 % 89}"),
                    ]
                )
                + "\n"
            )
    for threads in (1, 3):
        (tmp_path / str(threads)).mkdir()
        assert program(raw, tmp_path / str(threads), tokenizer, threads).returncode == 0
    for name in ("clean.jsonl", "rejected.jsonl"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_over_long_is_exact(tmp_path, tokenizer):
    from mindtune.chat_template import load_chat, to_messages

    chat = load_chat(tokenizer)
    text = chat.render(to_messages([{"from": role, "value": value} for role, value in GOOD]))
    assert text.startswith(
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n我最近"
    )
    [tokens] = chat.count([text])
    assert (
        tokens
        == len(chat.tokenizer.encode(text, add_special_tokens=False).ids)
        == len(chat.encode([text])[0])
    )
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(GOOD))
    for limit, kept in ((tokens, 1), (tokens - 1, 0)):
        assert program(tmp_path / "raw", tmp_path, tokenizer, max_tokens=limit).returncode == 0
        assert len(read(tmp_path / "clean.jsonl")) == kept


def facts_of(folder):
    return json.loads((folder / "clean_dialogues.json").read_text(encoding="utf-8"))["facts"]


def test_an_over_long_dialogue_is_split_between_pairs(tmp_path, tokenizer):
    """No turn is cut, each part has the system prompt, every counsellor turn is there once, and
    all parts fit.
    """
    from mindtune.chat_template import load_chat, to_messages

    turns = [("system", "你是一位咨询师。")]
    for number in range(40):
        turns += [
            ("human", f"第{number}件事，" + "我很累" * (number % 5)),
            ("gpt", f"第{number}个回答。"),
        ]
    (tmp_path / "raw").mkdir()
    huge = [("human", "说来话长" * 500), ("gpt", "嗯。"), ("human", "还有"), ("gpt", "请说。")]
    lines = [sharegpt(turns, id="长"), sharegpt(GOOD, id="短"), sharegpt(huge, id="巨")]
    (tmp_path / "raw/a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert program(tmp_path / "raw", tmp_path, tokenizer, over_long="split").returncode == 0
    clean, chat = read(tmp_path / "clean.jsonl"), load_chat(tokenizer)
    parts = [row for row in clean if row["id"].startswith("长/")]
    assert len(parts) > 3 and [row["id"] for row in clean] == [
        f"长/{n + 1}" for n in range(len(parts))
    ] + ["短"]
    assert {row["source"] for row in parts} == {"测试:a.jsonl#1"} and all(
        "split" in row["fixes"] for row in parts
    )
    spoken = []
    for row in parts:
        assert row["conversations"][0] == {"from": "system", "value": "你是一位咨询师。"}
        assert chat.count([chat.render(to_messages(row["conversations"]))])[0] <= 400
        assert (
            row["conversations"][1]["from"] == "human" and row["conversations"][-1]["from"] == "gpt"
        )
        spoken += [(turn["from"], turn["value"]) for turn in row["conversations"][1:]]
    assert spoken == turns[1:]
    [rejected] = read(tmp_path / "rejected.jsonl")
    assert (rejected["id"], rejected["reasons"]) == (
        "巨",
        ["over_long"],
    )  # one pair alone does not fit
    facts = facts_of(tmp_path)
    assert (facts["read"], facts["kept"], facts["rejected"], facts["dialogues"]) == (
        3,
        2,
        1,
        len(parts) + 1,
    )
    assert facts["fixes_by_step"]["split"] == 1


def numbered(number, line="", **more):
    """A dialogue that is like no other."""
    own = "".join(map(chr, random.Random(number).choices(range(0x4E00, 0x9000), k=30)))
    return sharegpt(
        [
            ("human", f"第{number}次来访，{own[:15]}"),
            ("gpt", f"{own[15:]}。"),
            ("human", "好"),
            ("gpt", line or own),
        ],
        **more,
    )


def test_lines_said_too_often_are_capped(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    line = "谢谢你的信任，祝你一切顺利！"
    rows = [
        numbered(number, line if number % 2 else "", id=f"对话{number}") for number in range(12)
    ]
    (tmp_path / "raw/a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert program(tmp_path / "raw", tmp_path, tokenizer, max_line_repeats=4).returncode == 0
    assert [(row["id"], row["reasons"]) for row in read(tmp_path / "rejected.jsonl")] == [
        ("对话9", ["repeated_line"]), ("对话11", ["repeated_line"]),
    ]  # fmt: skip
    facts = facts_of(tmp_path)
    assert facts["counsellor_lines"]["most"] == [{"first": "对话1", "times": 4}]
    assert facts["counsellor_lines"]["lines"] - facts["counsellor_lines"]["different"] == 3
    steps = {name: name not in ("own_role_tag", "repeated_line") for name in STEPS}
    assert (
        program(tmp_path / "raw", tmp_path, tokenizer, max_line_repeats=4, steps=steps).returncode
        == 0
    )
    assert facts_of(tmp_path)["counsellor_lines"]["most"] == [{"first": "对话1", "times": 6}]


def test_sources_are_mixed_by_weight_and_limit(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    for start, name, count in (
        (0, "甲", 30),
        (100, "乙-1", 5),
        (200, "乙-2", 5),
        (300, "丙", 20),
        (400, "丁", 7),
    ):
        rows = [numbered(start + number, id=f"{name}/{number}") for number in range(count)]
        (tmp_path / f"raw/{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    sources = {
        "甲.jsonl": {"weight": 2, "limit": None},
        "乙-*.jsonl": {"weight": 1, "limit": None},
        "丙.jsonl": {"weight": None, "limit": 6},
    }
    assert program(tmp_path / "raw", tmp_path, tokenizer, sources=sources).returncode == 0
    facts = facts_of(tmp_path)
    kept = {name: file["kept"] for name, file in facts["files"].items()}
    assert kept.pop("乙-1.jsonl") + kept.pop("乙-2.jsonl") == 10
    assert kept == {"甲.jsonl": 20, "丙.jsonl": 6, "丁.jsonl": 7}
    assert (
        facts["rejected_by_reason"]["over_share"] == 24
        and facts["kept"] + facts["rejected"] == facts["read"] == 67
    )
    done = program(
        tmp_path / "raw", tmp_path, tokenizer, sources={"戊.jsonl": {"weight": 1, "limit": None}}
    )
    assert done.returncode == 2 and "戊.jsonl" in done.stderr


def test_the_form_can_be_given(raw, tmp_path, tokenizer):
    (raw / "二.json").unlink()
    assert program(raw, tmp_path, tokenizer, form="messages").returncode == 0
    assert facts_of(tmp_path)["rejected_by_reason"]["malformed"] == 8
    assert "expected one of auto" in program(raw, tmp_path, tokenizer, form="excel").stderr


def test_the_record_has_the_census_and_the_clusters(raw, tmp_path, tokenizer):
    crisis = [
        ("human", "我不想活了，觉得活着没有意义。"),
        ("gpt", "我很担心你。请现在拨打12356，也可以去医院。"),
    ]
    (raw / "四.jsonl").write_text(
        sharegpt(crisis) + "\n" + sharegpt([crisis[0], ("gpt", "我听到了，你很痛苦。")]),
        encoding="utf-8",
    )
    assert program(raw, tmp_path, tokenizer).returncode == 0
    facts = facts_of(tmp_path)
    assert facts["census"] == {"dialogues": 9, "client_speaks_of_suicide_or_self_harm": 2,
                               "counsellor_points_to_help": 1, "counsellor_names_a_hotline": 1,
                               "only_the_counsellor_speaks_of_it": 0}  # fmt: skip
    assert facts["files"]["四.jsonl"]["census"]["dialogues"] == 2
    assert facts["near_duplicates"] == {
        "clusters": 1,
        "by_size": {"2": 1},
        "largest": [{"kept": "一-5", "dropped": ["一-6"]}],
    }


def test_what_cannot_be_written_is_rejected(raw, tmp_path, tokenizer):
    """With the step off that drops lone surrogates, the row cannot be kept as UTF-8."""
    steps = {name: name not in ("own_role_tag", "invisible") for name in STEPS}
    assert program(raw, tmp_path, tokenizer, steps=steps).returncode == 0
    assert ("一-8", ["malformed"]) in [
        (row["id"], row["reasons"]) for row in read(tmp_path / "rejected.jsonl")
    ]


def test_two_forms_in_one_file_are_refused_with_row_and_byte(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    first = sharegpt(GOOD) + "\n"
    second = json.dumps(
        {
            "messages": [
                {"role": "user", "content": "你好"},
                {"role": "assistant", "content": "请坐"},
            ]
        }
    )
    (tmp_path / "raw/a.jsonl").write_text(first + second)
    done = program(tmp_path / "raw", tmp_path, tokenizer)
    assert done.returncode == 2
    assert (
        f"a.jsonl row 2 (byte {len(first.encode())}): found the form messages, expected sharegpt"
        in done.stderr
    )
    assert not list(tmp_path.glob("*.jsonl*"))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_torn_file_leaves_nothing_behind(tmp_path, tokenizer, threads):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(GOOD) + "\n" + sharegpt(GOOD)[:40])
    done = program(tmp_path / "raw", tmp_path, tokenizer, threads)
    assert (
        done.returncode == 2
        and "a.jsonl row 2 (byte" in done.stderr
        and "Traceback" not in done.stderr
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_a_file_of_no_known_form_is_refused(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text('{"问": "好吗", "答": "好"}\n')
    done = program(tmp_path / "raw", tmp_path, tokenizer)
    assert done.returncode == 2 and "found no row in a known form" in done.stderr


def test_settings_are_checked(raw, tmp_path, tokenizer):
    assert "max_tokens is 0" in program(raw, tmp_path, tokenizer, max_tokens=0).stderr
    assert "found the keys" in program(raw, tmp_path, tokenizer, extra=1).stderr
    assert "tokenizer.json is missing" in program(raw, tmp_path, tmp_path).stderr


@pytest.mark.parametrize("over_long", ["drop", "split"])
def test_huge_rows_stay_bounded(tmp_path, tokenizer, over_long, monkeypatch):
    """A turn of 10 MB and a dialogue of 100,000 turns, within 1.5 GB of data memory."""
    import resource

    (tmp_path / "raw").mkdir()
    rows = [
        sharegpt([("human", "啊" * 3_500_000), ("gpt", "嗯")]),
        sharegpt(
            [turn for n in range(50_000) for turn in (("human", f"我{n}"), ("gpt", f"你{n}"))],
            id="长",
        ),
        sharegpt(GOOD),
    ]
    (tmp_path / "raw/a.jsonl").write_text("\n".join(rows))
    run = subprocess.run
    limit = 3 << 29
    monkeypatch.setattr(
        subprocess, "run",
        lambda *args, **more: run(*args, **more,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))),
    )  # fmt: skip
    done = program(tmp_path / "raw", tmp_path, tokenizer, over_long=over_long)
    assert done.returncode == 0, done.stderr
    rejected, clean = read(tmp_path / "rejected.jsonl"), read(tmp_path / "clean.jsonl")
    assert [row["reasons"] for row in rejected] == [["over_long"]] * (
        2 if over_long == "drop" else 1
    )
    answers = [
        turn["value"]
        for row in clean
        if row["id"].startswith("长/")
        for turn in row["conversations"]
        if turn["from"] == "gpt"
    ]
    assert answers == ([] if over_long == "drop" else [f"你{n}" for n in range(50_000)])


@pytest.mark.parametrize("line", [
    '{"conversations": 1, "conversations": [{"from": "human", "value": "我累。"}, {"from": "gpt", '
'"value": "说说。"}]}',
    '{"conversations": [{"from": "human", "from": "gpt", "value": "我\\u0000累。"}]}',
    '{"conversations": ' + "[" * 5000 + "]" * 5000 + "}",
    '{"conversations": [{"from": null, "value": {"value": '
'[]}}]}', "[]", '"一句话"', "12", "null", '{"id": {"id": 1}, "conversations": []}',
    '{"conversations": [{"from": "human", "value": "\\ud83d\\u0000\\udc00"}, {"from": "gpt", '
'"value": "嗯"}]}',
])  # fmt: skip
def test_odd_rows_are_accounted_for(tmp_path, tokenizer, line):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(GOOD) + "\n" + line + "\n", encoding="utf-8")
    done = program(tmp_path / "raw", tmp_path, tokenizer)
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.returncode == 2 and "a.jsonl row 2" in done.stderr
    else:
        assert len(read(tmp_path / "clean.jsonl")) + len(read(tmp_path / "rejected.jsonl")) == 2


def test_every_counsellor_turn_is_a_target_once_and_no_history_is_later(tmp_path, tokenizer):
    """The converter's test: turns carry their place, in every form that has several, with repairs
    and splits on the way.
    """

    def said(dialogue, turn):
        return f"{dialogue}号第{turn}句，" + "".join(
            map(chr, random.Random(dialogue * 100 + turn).choices(range(0x4E00, 0x9000), k=12))
        )

    def turns(dialogue, pairs):
        return [(("human", "gpt")[turn % 2], said(dialogue, turn)) for turn in range(2 * pairs)]

    raw = tmp_path / "raw"
    raw.mkdir()
    lists = {
        form: [turns(100 * index + n, n + 1) for n in range(9)]
        for index, form in enumerate(("sharegpt", "messages", "pairs", "alpaca", "prefixed"), 1)
    }
    roles, labels = {"human": "user", "gpt": "assistant"}, {"human": "来访者", "gpt": "心理咨询师"}

    def pairs_of(each):
        texts = [text for _, text in each]
        return list(zip(texts[::2], texts[1::2], strict=True))

    rows = {
        "sharegpt": [{"conversations": [{"from": r, "value": t} for r, t in [("gpt", "欢迎。"),
        *each, ("human", "再见")]]} for each in lists["sharegpt"]],
        "messages": [{"messages": [{"role": roles[r], "content": t} for r,
        t in each]} for each in lists["messages"]],
        "pairs": [{"conversation": [{"input": a, "output": b} for a,
        b in pairs_of(each)]} for each in lists["pairs"]],
        "alpaca": [{"instruction": pairs_of(each)[-1][0], "output": pairs_of(each)[-1][1],
        "history": pairs_of(each)[:-1]} for each in lists["alpaca"]],
        "prefixed": [[f"{labels[r]}：{t}" for r, t in each] for each in lists["prefixed"]],
    }  # fmt: skip
    for form, entries in rows.items():
        (raw / f"{form}.jsonl").write_text(
            "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries), encoding="utf-8"
        )
    assert program(raw, tmp_path, tokenizer, over_long="split").returncode == 0
    targets = []
    for row in read(tmp_path / "clean.jsonl"):
        for place, turn in enumerate(row["conversations"]):
            if turn["from"] == "gpt":
                dialogue, number = map(int, re.match(r"(\d+)号第(\d+)句", turn["value"]).groups())
                history = [
                    tuple(map(int, re.match(r"(\d+)号第(\d+)句", earlier["value"]).groups()))
                    for earlier in row["conversations"][:place]
                ]
                assert history == [
                    (dialogue, step) for step in range(number - len(history), number)
                ]
                targets.append(turn["value"])
    expected = [
        text
        for each in lists.values()
        for dialogue in each
        for role, text in dialogue
        if role == "gpt"
    ]
    assert len(targets) == len(set(targets)) and sorted(targets) == sorted(expected)
    assert any(row["id"].endswith("/2") for row in read(tmp_path / "clean.jsonl"))


ROW = st.recursive(
    st.none() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "conversations", "messages", "from", "value", "role"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        ROW
        | st.builds(
            lambda turns: {"conversations": [{"from": a, "value": b} for a, b in turns]},
            st.lists(st.tuples(LABEL, TEXT), max_size=5),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_no_row_is_lost_whatever_it_is(rows, tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "raw").mkdir()
    (folder / "raw/a.jsonl").write_text("\n".join([sharegpt(GOOD), *map(json.dumps, rows)]))
    done = program(folder / "raw", folder, tokenizer)
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        assert (
            len(read(folder / "clean.jsonl")) + len(read(folder / "rejected.jsonl"))
            == len(rows) + 1
        )
    else:
        assert "expected sharegpt" in done.stderr


# --------------------------------------------------------------------------------- crises,
# patterns, hostile rows

CRISIS = [("human", "我好想去死。"), ("gpt", "我很担心你。"), ("human", "吃多少片会死？"), ("gpt",
    "请现在拨打12356。")]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("keep", ["助", "未", "问", "平"]), ("with_help", ["助", "平"]), ("drop", ["平"])],
)
def test_crises_are_tagged_listed_and_kept_by_policy(tmp_path, tokenizer, policy, kept):
    (tmp_path / "raw").mkdir()
    rows = [
        sharegpt([("system", "你是咨询师。"), *CRISIS], id="助"),
        sharegpt([*CRISIS[:2], ("human", "没人懂我。"), ("gpt", "我在听。")], id="未"),
        sharegpt([("human", "我很累。"), ("gpt", "等他们死了你就自由了，想死就去死吧。")], id="问"),
        sharegpt(GOOD, id="平"),
    ]
    (tmp_path / "raw/a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    done = program(tmp_path / "raw", tmp_path, tokenizer, crisis=policy)
    assert done.returncode == 0, done.stderr
    clean = {row["id"]: row for row in read(tmp_path / "clean.jsonl")}
    assert list(clean) == kept
    assert clean["平"]["crisis"] == "none" and set(clean["平"]["crisis_turns"]) == {""}
    assert clean.get("助", clean["平"])["crisis_turns"] in (
        ["", "speaks", "", "speaks", "help"],
        [""] * 4,
    )
    listed = read(tmp_path / "crisis.jsonl")
    assert [row["id"] for row in listed] == kept[:-1]
    if policy == "keep":
        assert [row["crisis"] for row in listed] == ["helped", "unhelped", "counsellor"]
        assert [turn["turn"] for turn in listed[0]["turns"]] == [1, 3, 4]
        assert "吃多少片会死" in listed[0]["turns"][1]["excerpt"]
    facts = facts_of(tmp_path)
    assert facts["rejected_by_reason"]["crisis"] == 4 - len(kept)


def test_tags_follow_the_parts_of_a_split_dialogue(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    filler = [
        turn for n in range(40) for turn in (("human", f"第{n}件事，我很累"), ("gpt", f"第{n}答。"))
    ]
    turns = [("system", "你是咨询师。"), *filler, *CRISIS]
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(turns, id="长"), encoding="utf-8")
    assert program(tmp_path / "raw", tmp_path, tokenizer, over_long="split").returncode == 0
    clean = read(tmp_path / "clean.jsonl")
    assert len(clean) > 3
    assert all(len(row["crisis_turns"]) == len(row["conversations"]) for row in clean)
    marked = [
        (turn["value"], mark)
        for row in clean
        for turn, mark in zip(row["conversations"], row["crisis_turns"], strict=True)
        if mark
    ]
    assert marked == [(CRISIS[0][1], "speaks"), (CRISIS[2][1], "speaks"), (CRISIS[3][1], "help")]


def test_a_number_called_a_help_line_is_kept_and_listed(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    said = [("human", "我很累，电话010-62345678。"), ("gpt", "本地的心理援助热线是0571-85029595。")]
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(said, id="线"), encoding="utf-8")
    assert program(tmp_path / "raw", tmp_path, tokenizer).returncode == 0
    [row], [listed] = read(tmp_path / "clean.jsonl"), read(tmp_path / "crisis.jsonl")
    assert [turn["value"] for turn in row["conversations"]] == ["我很累，电话[电话]。", said[1][1]]
    assert (listed["id"], listed["numbers"]) == ("线", ["0571-85029595"])


def test_patterns_of_ones_own_reject_and_replace(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    rows = [
        sharegpt(with_text("加群领取资料"), id="广告"),
        sharegpt(with_text("我在XX平台看到你。XX平台好。"), id="平台"),
        sharegpt(GOOD, id="净"),
    ]
    (tmp_path / "raw/a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    patterns = [{"name": "ad", "find": "加群", "in": "client"}, {"name": "site", "find": "XX(平台)",
        "do": "replace", "with": r"某\1"}]  # fmt: skip
    assert program(tmp_path / "raw", tmp_path, tokenizer, patterns=patterns).returncode == 0
    clean = {row["id"]: row for row in read(tmp_path / "clean.jsonl")}
    assert list(clean) == ["平台", "净"] and clean["净"]["fixes"] == []
    assert clean["平台"]["conversations"][0]["value"] == "我在某平台看到你。某平台好。"
    assert clean["平台"]["fixes"] == ["pattern"]
    facts = facts_of(tmp_path)
    assert facts["patterns"] == {"ad": 1, "site": 2}
    assert facts["rejected_by_reason"]["pattern"] == facts["fixes_by_step"]["pattern"] == 1
    for wrong in ({"name": "a", "find": "("}, {"name": "a", "find": "x", "do": "replace",
        "with": r"\2"}):  # fmt: skip
        done = program(tmp_path / "raw", tmp_path, tokenizer, patterns=[wrong])
        assert done.returncode == 2 and "data.clean.patterns: 'a'" in done.stderr


@pytest.mark.parametrize("unit", [
    "<!--", "<script>", "amp;", "<b", "<br ", "\u3000", " \t", "。医生：", "``` ", "`a", "a.",
    "想死", "吃", "jump off ", "（\n", "| a\n", "&#38;amp;", "Ã¤", "<a ", "</", "400 ",
    "1", "1 ", "[", "\ud800", "😀", "😀\u200d", "a@", "我很难过",
    "我很难过。", "用户：你好。助手：",
])  # fmt: skip
def test_a_hostile_turn_costs_time_by_its_length(unit):
    """Four times the text takes about four times the time; a quadratic scan takes sixteen."""
    import time

    def seconds(size):
        text = "&" + unit * (size // len(unit)) + "x"
        start = time.process_time()
        cleaner().clean(with_text(text, "gpt"))
        return time.process_time() - start

    cleaner().clean(GOOD)
    small, large = (min(seconds(size) for _ in range(2)) for size in (40_000, 160_000))
    assert large < 9 * small + 0.1, (small, large)


def test_markup_without_an_end_is_malformed():
    """`<b<b<b>>>` uncovers a tag a round, more rounds than anybody's page has."""
    assert cleaner().clean(with_text("<br" * 40 + ">" * 40)).reasons == ["malformed"]
