"""Simulated clients: who they are, and whether they stay clients."""

import json
from pathlib import Path

import pytest
from mindtune.cli import UserError
from mindtune.evaluate.client_drift import KINDS, drift_of, of_conversation, shares
from mindtune.evaluate.clients import instructions
from mindtune.evaluate.crisis_rules import decide
from mindtune.evaluate.personas import RISKS, chosen, read_personas, read_styles

CLIENTS = Path(__file__).resolve().parents[3] / "resources/clients"
STYLES = read_styles(CLIENTS / "styles.yaml")
PERSONAS = read_personas(CLIENTS / "personas.yaml", STYLES)
BY_NAME = {persona.name: persona for persona in PERSONAS}


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
