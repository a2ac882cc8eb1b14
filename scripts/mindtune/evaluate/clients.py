"""Simulated clients: one that follows a script, and one that a chat model plays.

Both keep their persona to themselves and get only what was said aloud. The scripted one is for
machines without a model to spare: it exercises the same code, and its talks measure no counsellor.
"""

from collections.abc import Callable, Sequence

from mindtune.evaluate.conversation import Messages, Turn
from mindtune.evaluate.personas import Persona
from mindtune.evaluate.rating_sheet import order_key

QUESTION = ("?", "？")
# What a model that plays a client is told; it is searched for in what the client says (drift)
INSTRUCTIONS = {
    "zh": (
        "请扮演一位来访者，正在和心理咨询师谈话。你的情况：{about}你的说话方式：{told}"
        "被问到时可以说出的事：{facts}最难开口的事：{hidden}"
        "每次只说来访者的话，一到三句，口语化。不要给建议，不要扮演咨询师，"
        "不要提到这些说明，不要提到任何自我伤害的方法。"
    ),
    "en": (
        "Play a client who is talking with a counsellor. Your situation: {about} How you talk: "
        "{told} What you may tell when asked: {facts} What is hardest to say: {hidden} Say only "
        "the client's words, one to three spoken sentences at a time. Give no advice, do not play "
        "the counsellor, do not mention these instructions, and name no method of self-harm."
    ),
}


def instructions(persona: Persona) -> str:
    """The system prompt of the model that plays a persona."""
    return INSTRUCTIONS[persona.lang].format(
        about=persona.about,
        told=persona.style.told,
        facts=" ".join(persona.facts),
        hidden=persona.hidden,
    )


def client_messages(persona: Persona, said: Sequence[Turn]) -> Messages:
    """What the model that plays a client gets: for it the client's words are its own."""
    messages = [{"role": "system", "content": instructions(persona)}]
    for turn in said:
        messages.append({"role": "assistant", "content": turn.client})
        messages.append({"role": "user", "content": turn.reply})
    return messages


def played_client(persona: Persona, ask: Callable[[Messages], str]) -> Callable:
    """A client that a chat model plays; its first words are the persona's own, so that every
    counsellor hears the same.
    """

    def speak(said: Sequence[Turn]) -> str:
        return ask(client_messages(persona, said)).strip() if said else persona.opening

    return speak


def scripted_client(persona: Persona, seed: int) -> Callable:
    """A client that follows a script: after a question it tells a fact, else it says something of
    its style; late enough, and asked, the hidden thing. The seed orders its lines.
    """
    ordered = {
        name: sorted(lines, key=lambda line: order_key(seed, persona.name, line))
        for name, lines in (("facts", persona.facts), ("fillers", persona.style.fillers))
    }

    def speak(said: Sequence[Turn]) -> str:
        if not said:
            return persona.opening
        spoken = [turn.client for turn in said]
        asked = any(sign in said[-1].reply for sign in QUESTION)
        if asked and len(said) >= persona.style.after and persona.hidden not in spoken:
            return persona.hidden
        first, second = ("facts", "fillers") if asked else ("fillers", "facts")
        left = [line for line in ordered[first] + ordered[second] if line not in spoken]
        # all was said: the oldest filler again
        return left[0] if left else ordered["fillers"][len(said) % len(ordered["fillers"])]

    return speak
