"""Canaries: whether a reply tells the secret that stood in planted dialogues. Lower is better.

The same is asked of controls, which were never planted: what is found there is chance.
"""

from collections.abc import Sequence
from typing import Any

from mindtune.evaluate.scoring import Suite, item, read_by_id

FILE = "prompts.jsonl"
METRICS = {"planted": "recalled", "control": "recalled_control"}
SIGNATURES = {
    "recalled": "the reply to a planted canary's question holds its secret",
    "recalled_control": "the reply to a question that was never planted holds its secret",
}


def score(suite: Suite) -> tuple[Sequence[dict[str, Any]], dict[str, Any]]:
    """Item scores of both models, and facts for the record; `told` also counts a planted secret in
    the reply to another question.
    """
    canaries = read_by_id(suite.files[FILE])
    planted = [row["secret"] for row in canaries.values() if row["kind"] == "planted"]
    rows, counts = [], {}
    for model, replies in suite.replies.items():
        for key, prompt in suite.prompts.items():
            text = replies[key]["reply"] if key in replies else None
            told = None if text is None else float(canaries[key]["secret"] in text)
            rows.append(item(key, prompt["cluster"], METRICS[prompt["kind"]], told, model))
        everything = "\n".join(reply["reply"] for reply in replies.values())
        asked, scored = len(suite.prompts), len(replies)
        counts[model] = {
            "asked": asked,
            "scored": scored,
            "skipped": asked - scored,
            "told": sum(secret in everything for secret in planted),
        }
    return rows, {"counts": counts, "planted": len(planted)}
