"""Replies to the same prompts, in Chinese and English, as the dialogue suite stores them."""

FIXED = {
    "zh": "谢谢你愿意告诉我这些，我会陪着你。",
    "en": "Thank you for telling me this, I am here with you.",
}
SETTINGS = {"seed": 42, "fixed_line": FIXED}
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
