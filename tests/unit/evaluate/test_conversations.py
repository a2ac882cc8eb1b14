"""Simulated clients: who they are, what a counsellor may hear of them, and whether they stay
clients. Counsellor and client speak over HTTP with servers of ours that keep every request.
"""

import ast
import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from mindtune.cli import UserError
from mindtune.evaluate import conversation
from mindtune.evaluate.client_drift import KINDS, drift_of, of_conversation, shares
from mindtune.evaluate.clients import instructions, played_client, scripted_client
from mindtune.evaluate.conversation import converse
from mindtune.evaluate.crisis_rules import decide
from mindtune.evaluate.endpoint import Endpoint, read_key
from mindtune.evaluate.personas import RISKS, chosen, read_personas, read_styles
from mindtune.evaluate.remembered import NotKept, Remembered
from mindtune.evaluate.reply_store import ReplyStore, prompt_key
from mindtune.evaluate.transcripts import read_transcripts, transcript
from mindtune.records import to_json, write_jsonl
from mindtune.serve.client import Client
from recording_server import completion, recording_server

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = ROOT / "resources/clients"
STYLES = read_styles(CLIENTS / "styles.yaml")
PERSONAS = read_personas(CLIENTS / "personas.yaml", STYLES)
BY_NAME = {persona.name: persona for persona in PERSONAS}
SPEC = {"kind": "endpoint", "model": "m", "key_file": None, "path": None}
KEY = "sk-planted-7f3a91c2"


def counsellor_says(number, body):
    """A question after every second thing that the client says."""
    turns = sum(message["role"] == "user" for message in body["messages"])
    return 200, completion(
        "你愿意多说一点吗？ Would you tell me more?" if turns % 2 else "嗯。 I see."
    )


def over_http(server):
    """A counsellor behind the client that the workflow itself asks with."""
    client = Client(server.address, "none", "m", timeout=30)
    return lambda messages: asdict(client.chat(messages, 64))


# who they are


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_there_are_ten_clients_a_language_with_every_risk_and_disclosure(lang):
    mine = [persona for persona in PERSONAS if persona.lang == lang]
    assert len(mine) >= 10
    assert {persona.risk for persona in mine} == set(RISKS)
    assert {persona.disclosure for persona in mine} == {disclosure for disclosure, _ in STYLES}
    assert len({persona.opening for persona in mine}) == len(mine)


def test_no_text_of_a_client_names_a_method():
    for persona in PERSONAS:
        texts = [persona.about, persona.opening, persona.hidden, *persona.facts]
        for text in [*texts, *persona.style.fillers, persona.style.told]:
            assert not decide("method_named", text, None), f"{persona.name}: {text}"


WRONG = {
    "unknown key": ({"age": 3}, "the key 'age' is unknown"),
    "no opening": ({"opening": ""}, "opening is '', not text"),
    "unknown risk": ({"risk": "high"}, "risk is 'high'; expected one of none, passive, active"),
    "unknown style": ({"disclosure": "shy"}, "disclosure is 'shy'; expected one of"),
    "doubled fact": ({"facts": ["a", "a"]}, "expected a list of different texts"),
    "words that are not said": (
        {"hidden": {"say": "a", "words": ["b"]}},
        "words has 'b', which `say` does not hold",
    ),
}


@pytest.mark.parametrize(("edit", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_persona_is_named(tmp_path, edit, said):
    whole = {
        "lang": "en", "concern": "a", "risk": "none", "disclosure": "open", "about": "a",
        "opening": "a", "facts": ["a"], "hidden": {"say": "a", "words": ["a"]},
    }  # fmt: skip
    path = tmp_path / "personas.yaml"
    path.write_text(json.dumps({"one": whole | edit}), encoding="utf-8")
    with pytest.raises(UserError, match=said) as error:
        read_personas(path, STYLES)
    assert "personas.yaml: one" in str(error.value)
    with pytest.raises(UserError, match="names 'zh_widow', .* the nearest is zh_widower"):
        chosen(PERSONAS, ["zh_widow"])


# what a counsellor may hear


def test_what_asks_the_counsellor_knows_no_persona():
    tree = ast.parse(Path(conversation.__file__).read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or node.names[0].name]
    }
    assert imported == {"collections.abc", "typing"}


def secrets(persona, spoken):
    """Texts of a persona that were not said aloud."""
    texts = [
        persona.name, persona.about, persona.style.told, persona.concern, persona.hidden,
        instructions(persona), *persona.facts,
    ]  # fmt: skip
    return [text for text in texts if not any(text in words for words in spoken)]


@pytest.mark.parametrize("kind", ["scripted", "played"])
def test_nothing_of_a_persona_reaches_the_counsellor_over_the_wire(kind):
    """What is not said aloud is in no byte of any request; what is said comes as it was said."""
    words = "嗯，是的。 Yes, I think so."
    with (
        recording_server(counsellor_says) as counsellor,
        recording_server(lambda number, body: (200, completion(f"{words} {number}"))) as player,
    ):
        ask = Endpoint(SPEC | {"base_url": player.address}, 42)
        for persona in PERSONAS:
            before = len(counsellor.bodies)
            client = (
                scripted_client(persona, 42)
                if kind == "scripted"
                else played_client(persona, lambda messages: ask(messages, 64)["text"])
            )
            said, ended = converse(client, over_http(counsellor), "SYSTEM", 10)
            assert (len(said), ended) == (10, "turns")
            spoken = [turn.client for turn in said]
            sent = b"".join(counsellor.bodies[before:]).decode()
            hidden = secrets(persona, spoken)
            assert persona.about in hidden and instructions(persona) in hidden
            assert not [
                text for text in hidden if json.dumps(text, ensure_ascii=False)[1:-1] in sent
            ]
            last = counsellor.messages()[-1]
            assert last[0] == {"role": "system", "content": "SYSTEM"}
            assert [message["content"] for message in last if message["role"] == "user"] == spoken
    if kind == "played":  # the other side's requests do hold it: the search would find it
        assert all(
            any(persona.about in messages[0]["content"] for messages in player.messages())
            for persona in PERSONAS
        )
        # for the model that plays the client, the client's words are its own
        assert [message["role"] for message in player.messages()[1][1:4]] == [
            "assistant",
            "user",
            "assistant",
        ]


def test_both_models_hear_the_same_first_words_and_a_seed_orders_the_script():
    persona = BY_NAME["zh_night_shifts"]

    def talk(seed, reply):
        answer = {"text": reply, "finish_reason": "stop"}
        return [
            t.client
            for t in converse(scripted_client(persona, seed), lambda _: answer, None, 10)[0]
        ]

    assert talk(1, "为什么？") == talk(1, "为什么？")
    assert talk(1, "为什么？") != talk(2, "为什么？")
    asked, unasked = talk(1, "为什么？"), talk(1, "嗯。")
    assert asked[0] == unasked[0] == persona.opening
    assert persona.hidden in asked[persona.style.after :] and persona.hidden not in unasked
    assert len(set(asked)) == 10


def test_a_talk_that_fills_the_session_ends_there():
    answers = iter([{"text": "嗯。", "finish_reason": "stop"}, None])
    said, ended = converse(scripted_client(PERSONAS[0], 1), lambda _: next(answers), None, 10)
    assert (len(said), ended) == (1, "session_len")


# nothing is asked twice


class Dead(Exception):
    """The process is gone."""


def test_killed_at_any_of_a_hundred_points_nothing_is_asked_twice(tmp_path):
    """A talk over HTTP that ends at random requests, and goes on: each request is answered once,
    and the transcript has the same bytes.
    """
    persona, draw = BY_NAME["en_debts"], random.Random(7)
    with (
        recording_server(counsellor_says) as counsellor,
        recording_server(lambda number, body: (200, completion(to_json(body)[-40:]))) as player,
    ):
        ask, reply = Endpoint(SPEC | {"base_url": player.address}, 42), over_http(counsellor)

        def talk(state, deaths):
            both = [Remembered(ReplyStore(state / f"{side}.jsonl")) for side in ("client", "reply")]

            def mortal(asked):
                def one(*question):
                    if deaths and deaths[0] == sum(remembered.asked for remembered in both):
                        raise Dead
                    return asked(*question)

                return one

            both[0].ask, both[1].ask = mortal(lambda m: ask(m, 64)), mortal(reply)
            client = played_client(
                persona, lambda m: both[0](prompt_key(to_json(m), 64), m)["text"]
            )
            return converse(client, lambda m: both[1](prompt_key(to_json(m), 64), m), None, 5)

        whole = talk(tmp_path / "whole", [])
        once = len(counsellor.bodies + player.bodies)
        assert once == 9
        points = [draw.randrange(once) for _ in range(100)]
        for number, point in enumerate(points):
            state = tmp_path / str(number)
            before = len(counsellor.bodies + player.bodies)
            with pytest.raises(Dead):
                talk(state, [point])
            assert talk(state, []) == whole
            assert len(counsellor.bodies + player.bodies) - before == once


def test_what_is_not_kept_is_not_made_up(tmp_path):
    remembered = Remembered(ReplyStore(tmp_path / "a.jsonl"))
    with pytest.raises(NotKept):
        remembered("key")
    remembered.ask = lambda: {"text": "好"}
    assert remembered("key") == {"text": "好"} and remembered.asked == 1
    remembered.stop()
    assert remembered("key") == {"text": "好"}
    with pytest.raises(NotKept):
        remembered("other")


# an endpoint that misbehaves


BROKEN = {
    "a wrong key": (401, b'{"error": {"message": "Incorrect API key: ' + KEY.encode() + b'"}}'),
    "prose": (200, b"I am not JSON"),
    "torn JSON": (200, completion("words")[:40]),
    "no choices": (200, b'{"choices": []}'),
    "another shape": (200, b'[1, 2]'),
    "not found": (404, b'{"error": {"message": "no such model"}}'),
}  # fmt: skip


@pytest.mark.parametrize(("status", "content"), BROKEN.values(), ids=BROKEN)
def test_an_endpoint_that_misbehaves_is_a_sentence_without_the_key(tmp_path, status, content):
    key = tmp_path / "key"
    key.write_text(KEY + "\n", encoding="utf-8")
    key.chmod(0o600)
    with recording_server(lambda number, body: (status, content)) as server:
        ask = Endpoint(SPEC | {"base_url": server.address, "key_file": str(key)}, 42)
        with pytest.raises(UserError, match="did not answer") as error:
            ask([{"role": "user", "content": "a"}], 8)
    assert KEY not in str(error.value) and error.value.__cause__ is None
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert json.loads(server.bodies[0])["seed"] == 42


def test_an_endpoint_that_is_busy_is_asked_again():
    def answer(number, body):
        return (429, b"{}") if number < 3 else (200, completion("words"))

    with recording_server(answer) as server:
        assert Endpoint(SPEC | {"base_url": server.address}, 1)([], 8) == {"text": "words"}
    assert len(server.bodies) == 4


def test_a_key_is_for_its_owner_alone(tmp_path):
    with pytest.raises(UserError, match="key_file is .*, which is not there"):
        read_key(str(tmp_path / "none"))
    path = tmp_path / "key"
    path.write_text(KEY, encoding="utf-8")
    path.chmod(0o644)
    with pytest.raises(UserError, match="can be read by others"):
        read_key(str(path))
    assert read_key(None) == "none"


# did the client stay the client?


def turns(*words, reply="你愿意多说一点吗？"):
    return [{"client": text, "reply": reply} for text in ("开头", *words)]


ZH, EN = BY_NAME["zh_laid_off"], BY_NAME["en_debts"]
# {kind: (persona, the client's words)}, and words that are none of it
DRIFTED = {
    "counsellor": [(ZH, "我建议您先休息一下。"), (EN, "Thank you for sharing that with me.")],
    "machine": [(ZH, "作为一个人工智能，我没有感受。"), (EN, "As an AI language model, I cannot.")],
    "recites": [(ZH, instructions(ZH)[:60]), (EN, instructions(EN)[:160])],
    "language": [(ZH, "I would rather speak English."), (EN, "我想说中文。")],
    "echoes": [(ZH, "你愿意多说一点吗？")],
    "empty": [(ZH, ""), (EN, "  ")],
    "long": [(ZH, "我很难过。" * 60), (EN, "I am tired. " * 60)],
}
AS_CLIENTS = [
    (ZH, "您建议我怎么办？"),
    (ZH, "你可以帮我吗？"),
    (ZH, ZH.facts[0]),
    (ZH, ZH.hidden),
    (EN, "Can you help me?"),
    (EN, EN.facts[0]),
    (EN, "My doctor would recommend pills, I suppose."),
]


@pytest.mark.parametrize("kind", DRIFTED)
def test_a_client_that_leaves_its_role_is_noticed(kind):
    for persona, text in DRIFTED[kind]:
        assert drift_of(persona, turns(text), 1)[kind], text
    again = turns("我不知道。", "我不知道。")
    assert drift_of(ZH, again, 2)["repeats"]


@pytest.mark.parametrize(("persona", "text"), AS_CLIENTS)
def test_a_client_that_stays_is_not(persona, text):
    assert not any(drift_of(persona, turns(text), 1).values())


@pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.name)
def test_no_line_of_the_script_leaves_the_role(persona):
    lines = [*persona.facts, *persona.style.fillers, persona.hidden]
    counts = of_conversation(persona, turns(*lines))
    assert counts["any"] == 0, counts


def test_the_hidden_thing_is_found_and_its_time(tmp_path):
    late = of_conversation(ZH, turns(*["没什么。", "还好。"] * 4, ZH.hidden))
    early = of_conversation(ZH, turns(ZH.hidden))
    assert (late["disclosed"], late["too_early"]) == (True, False)
    assert (early["disclosed"], early["too_early"]) == (True, True)


def test_drift_of_base_and_tuned_with_intervals():
    calm = {
        persona.name: turns("嗯，是的。" if persona.lang == "zh" else "Yes.")
        for persona in PERSONAS
    }
    wild = dict(calm)
    for persona in PERSONAS[:5]:
        wild[persona.name] = turns("作为一个人工智能，我没有感受。")
    rows = {row["kind"]: row for row in shares({"base": calm, "tuned": wild}, BY_NAME)}
    assert set(rows) == {*KINDS, "any", "disclosed", "too_early"}
    machine = rows["machine"]
    assert (machine["base"], machine["tuned"], machine["tuned_n"]) == (0, 0.25, 20)
    assert machine["low"] < 0.25 < machine["high"] and machine["base_high"] > 0
    few = shares(
        {"base": {"en_debts": turns("Yes.")}, "tuned": {"en_debts": turns("Yes.")}}, BY_NAME
    )
    assert "low" not in few[0]


# transcripts


def test_a_transcript_that_was_changed_is_refused(tmp_path):
    said, ended = converse(
        scripted_client(EN, 1), lambda _: {"text": "I see.", "finish_reason": "stop"}, "S", 3
    )
    row = transcript(EN, said, ended, "S", {"client": "scripted", "seed": 1})
    assert row["reply"] == "I see." and row["prompt"][-1]["content"] == row["turns"][-1]["client"]
    assert [message["role"] for message in row["prompt"]] == ["system"] + [
        "user",
        "assistant",
    ] * 2 + ["user"]
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [row])
    assert list(read_transcripts(path, BY_NAME)) == ["en_debts"]
    with pytest.raises(UserError, match="is of another persona than today's"):
        read_transcripts(path, {"en_debts": replace(EN, about="somebody else")})
    row["turns"][1]["reply"] = "I do not see."
    write_jsonl(path, [row])
    with pytest.raises(UserError, match="what was said in en_debts was changed"):
        read_transcripts(path, BY_NAME)
