"""Fixed chats on which training, transformers and a server must agree, token for token: the proof
compares the first two, the smoke test the server.
"""

SYSTEM = {
    "zh": "你是一位温和、专业的心理咨询师。",
    "en": "You are a warm, professional counsellor.",
}
TURNS = {
    "zh": ["我最近总是睡不着，脑子停不下来。", "听起来这段时间很不容易。"
"是从什么时候开始的？", "大概两周前，换了工作以后。"
"\n\n我该怎么办？", "我们先从一件小事开始。"],
    "en": ["I can't sleep, my mind won't stop.", "That sounds exhausting. When did it "
"start?", "Two weeks ago -- after the new "
"job.\n\nWhat "
"can "
"I "
"do?", "Let's begin with one small thing."],
}  # fmt: skip


def fixed_chats() -> dict[str, list[dict[str, str]]]:
    """Chats of two languages, with and without system prompt, one and several turns; all end in a
    counsellor's turn.
    """
    chats = {}
    for language, turns in TURNS.items():
        dialogue = [
            {"role": ("user", "assistant")[place % 2], "content": text}
            for place, text in enumerate(turns)
        ]
        for name, head in (
            ("system", [{"role": "system", "content": SYSTEM[language]}]),
            ("no system", []),
        ):
            chats[f"{language}, {name}, one turn"] = head + dialogue[:2]
            chats[f"{language}, {name}, two turns"] = head + dialogue
    return chats
