"""What is rejected, and what ordinary talk is not."""

import re

import pytest
from cleaning_runs import GOOD, cleaner, only, with_text
from mindtune.data import identity
from mindtune.data.language import language_of

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
    assert only("wrong_language", [("human", german), ("gpt", answer)]).reasons == [
        "wrong_language"
    ]
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
