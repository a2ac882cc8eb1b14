"""What a counsellor may hear of a simulated client, and that nothing is asked twice. Counsellor and
client speak over HTTP with servers of ours that keep every request.
"""

import ast
import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from mindtune.cli import UserError
from mindtune.evaluate import conversation
from mindtune.evaluate.clients import instructions, played_client, scripted_client
from mindtune.evaluate.conversation import converse
from mindtune.evaluate.endpoint import Endpoint
from mindtune.evaluate.personas import read_personas, read_styles
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


EN = BY_NAME["en_debts"]

# transcripts


def test_a_transcript_that_was_changed_is_refused(tmp_path):
    said, ended = converse(
        scripted_client(EN, 1), lambda _: {"text": "I see.", "finish_reason": "stop"}, "S", 3
    )
    row = transcript(EN, said, ended, "S", {"client": "scripted", "seed": 1})
    assert row["reply"] == "I see." and row["prompt"][-1]["content"] == row["turns"][-1]["client"]
    roles = [message["role"] for message in row["prompt"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [row])
    assert list(read_transcripts(path, BY_NAME)) == ["en_debts"]
    with pytest.raises(UserError, match="is of another persona than today's"):
        read_transcripts(path, {"en_debts": replace(EN, about="somebody else")})
    row["turns"][1]["reply"] = "I do not see."
    write_jsonl(path, [row])
    with pytest.raises(UserError, match="what was said in en_debts was changed"):
        read_transcripts(path, BY_NAME)
