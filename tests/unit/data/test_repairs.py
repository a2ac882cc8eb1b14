"""Each repair alone, and that good text is left as it is."""

import pytest
from cleaning_runs import GOOD, cleaner, only, with_text
from mindtune.cli import UserError
from mindtune.data.cleaning import REPAIRS, STEPS

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
