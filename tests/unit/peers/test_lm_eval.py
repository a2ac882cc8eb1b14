"""The letters' log-likelihoods are those of lm-evaluation-harness, item by item.

The model is a random one: what is compared is how a likelihood is measured, not what a model knows.
MINDTUNE_MMLU=FOLDER of MMLU's *psychology*_test.csv compares all of its questions, with both
programs' options as printed; without it the bundled English questions are taken.
MINDTUNE_MMLU_MODEL=FOLDER takes that model, and MINDTUNE_MMLU_RECORD=FILE keeps what was found.
"""

import os
from pathlib import Path

from bench.measuring import head
from measure_letters import measured
from mindtune.chat_template import load_chat
from mindtune.evaluate.choice_prompts import question_prompts
from mindtune.evaluate.next_token import next_token
from mindtune.evaluate.questions import mmlu, own_form, with_clusters
from mindtune.records import read_json, write_json
from models import build_small_model

ROOT = Path(__file__).parents[3]
SESSION = 4096
ENGINE = {"engine": "transformers", "device": "cpu", "threads": 1, "session_len": SESSION}
INSTRUCTION = {"en": "Answer with one letter."}


def questions():
    """All single questions, as a suite asks them; of MMLU also the 23 that stand there twice."""
    if folder := os.environ.get("MINDTUNE_MMLU"):
        kept = list(mmlu(sorted(Path(folder).glob("*psychology_test.csv"))))
    else:
        rows = own_form([ROOT / "resources/knowledge/questions.jsonl"])
        kept = [row for row in rows if row.lang == "en" and not row.multiple]
    with_clusters(kept)
    return question_prompts(kept, INSTRUCTION, 0)


def harness_scores(folder, texts, letters):
    """Log-likelihoods of lm-evaluation-harness: {(place, letter): value}."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=1)
    wanted = [(place, letter) for place, offered in enumerate(letters) for letter in offered]
    requests = [
        Instance("loglikelihood", {}, (texts[place], letter), number)
        for number, (place, letter) in enumerate(wanted)
    ]
    found = model.loglikelihood(requests, disable_tqdm=True)
    return {key: value for key, (value, _) in zip(wanted, found, strict=True)}


def keep(path, model, ours, apart, differing):
    """Put what was found of a model into a record, beside what it has of others."""
    found = {
        "model": model,
        "items": len(ours),
        "differing": len(differing),
        "largest_difference": max(apart),
    }
    others = read_json(path)["runs"] if path.is_file() else []
    command = "make test-peers with MINDTUNE_MMLU, MINDTUNE_MMLU_MODEL and MINDTUNE_MMLU_RECORD"
    what = "Letters' log-likelihoods beside lm-evaluation-harness's, all items of MMLU's psychology"
    runs = [*(run for run in others if run["model"] != model), found]
    versions = ("lm-eval", "torch", "transformers")
    write_json(path, head(what, command, versions) | {"runs": runs})


def likeliest(scores):
    """The letter with the highest log-likelihood."""
    return max(scores, key=scores.get)


def test_every_item_has_the_same_likelihoods(tmp_path):
    given = os.environ.get("MINDTUNE_MMLU_MODEL")
    folder = Path(given) if given else build_small_model(tmp_path / "model", seed=7)
    chat, rows = load_chat(folder), questions()
    with next_token(folder, ENGINE) as scores:
        ours = list(measured(rows, chat, scores, SESSION))
    assert [row["id"] for row in ours] == [row["id"] for row in rows] and len(rows) >= 5
    texts = [chat.render(row["prompt"], add_generation_prompt=True) for row in rows]
    theirs = harness_scores(folder, texts, [row["scores"] for row in ours])
    apart, differing = [], []
    for place, row in enumerate(ours):
        # the harness takes the line break before the reply for the answer's: the same for all
        shift = theirs[place, "A"] - row["scores"]["A"]
        found = {letter: theirs[place, letter] - shift for letter in row["scores"]}
        apart.append(max(abs(found[letter] - row["scores"][letter]) for letter in found))
        if likeliest(found) != likeliest(row["scores"]):
            differing.append(row["id"])
    if record := os.environ.get("MINDTUNE_MMLU_RECORD"):
        name = folder.name if given else "random, two layers"
        keep(Path(record), name, ours, apart, differing)
    print(f"{len(ours)} items, {len(differing)} with another likeliest letter: {differing}")
    assert not differing and max(apart) < 2e-3
