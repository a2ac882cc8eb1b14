"""What every function that scores a suite gets, and what it gives.

A scorer is a module in scorers/ with `score(suite)`, which returns item scores without suite and
run (see items.py) and facts for the record, and with SIGNATURES {metric: how it is computed}.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.baselines import same_prompt
from mindtune.provenance import add_made_by
from mindtune.records import read_jsonl

Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Suite:
    """A suite's prompts by id, and by model (base, tuned) the replies and the letters' scores by
    id.

    A prompt without a reply was skipped. `files` are the files that the suite reads, by their name,
    `hotlines` says of a number whether it is a listed help line.
    """

    prompts: Rows
    replies: Mapping[str, Rows]
    letters: Mapping[str, Rows]
    files: Mapping[str, Path]
    hotlines: Any = None

    @property
    def languages(self) -> set[str]:
        """The languages of the prompts."""
        return {row["lang"] for row in self.prompts.values()}


def add_replies(parser: argparse.ArgumentParser) -> None:
    """The replies that a program scores."""
    parser.add_argument("--base", required=True, type=Path, help="replies of the base model")
    parser.add_argument("--tuned", required=True, type=Path, help="replies of the tuned model")
    parser.add_argument(
        "--baselines", type=Path, nargs="*", default=[], help="further replies of the base"
    )


def add_scored(parser: argparse.ArgumentParser) -> None:
    """The flags that every program has that scores a suite: --made-by, --items, --scores."""
    add_made_by(parser)
    parser.add_argument("--items", required=True, type=Path, help="the item scores to write")
    parser.add_argument("--scores", required=True, type=Path, help="the record to write")


def item(id: str, cluster: str, metric: str, value: float | None, model: str) -> dict[str, Any]:
    """One item score."""
    return {"id": id, "cluster": cluster, "metric": metric, "value": value, "model": model}


def by_language(
    suite: Suite, metrics: Sequence[str], verdicts: Callable[[str], Mapping[str, bool]]
) -> list[dict[str, Any]]:
    """Item scores of all replies by a function of the reply's text; the first metric, the primary
    one, also for each language. A prompt without a reply has null.
    """
    rows = []
    for model, replies in suite.replies.items():
        for key, prompt in suite.prompts.items():
            found = verdicts(replies[key]["reply"]) if key in replies else {}
            names = {name: name for name in metrics}
            if len(suite.languages) > 1:
                names[f"{metrics[0]}@{prompt['lang']}"] = metrics[0]
            for name, metric in names.items():
                value = float(found[metric]) if found else None
                rows.append(item(key, prompt["cluster"], name, value, model))
    return rows


def reply_counts(suite: Suite) -> dict[str, dict[str, int]]:
    """{model: asked = scored + skipped} of a suite whose every reply is scored."""
    asked = len(suite.prompts)
    return {
        model: {"asked": asked, "scored": len(replies), "skipped": asked - len(replies)}
        for model, replies in suite.replies.items()
    }


def read_by_id(path: Path) -> Rows:
    """The rows of a JSONL file by their ids, in the file's order; an id that stands there twice is
    a UserError.
    """
    rows: Rows = {}
    for number, row in enumerate(read_jsonl(path), 1):
        if not isinstance(row.get("id"), str):
            raise UserError(
                f"{path} line {number}: id is {row.get('id')!r}, not text; make it again"
            )
        if row["id"] in rows:
            raise UserError(
                f"{path} line {number}: the id {row['id']} stands there twice; make it again"
            )
        rows[row["id"]] = row
    return rows


def read_replies(path: Path, prompts: Rows, model: str) -> Rows:
    """Replies by id, each to the prompt of that id; base_prompted may have another system
    turn.
    """
    replies = read_by_id(path)
    for key, row in replies.items():
        if key not in prompts:
            raise UserError(
                f"{path} has a reply to {key}, which is not among the prompts; generate the "
                f"replies "
                "again"
            )
        same = same_prompt(model, prompts[key]["prompt"], row["prompt"])
        if not same or not isinstance(row.get("reply"), str):
            raise UserError(
                f"{path}: the reply to {key} is to another prompt, or is no text; generate the "
                "replies again"
            )
    return replies


def check_paired(
    replies: Mapping[str, Rows], skipped: Mapping[str, set[str]], prompts: Rows
) -> None:
    """Every prompt has a reply or a reason why not, and both models were asked the same."""
    for model, rows in replies.items():
        lacking = sorted(prompts.keys() - rows.keys() - skipped[model])
        if lacking:
            raise UserError(
                f"the replies of {model} lack {len(lacking)} of {len(prompts)} prompts, such as "
                f"{lacking[0]}, and its record does not say why; generate them again"
            )
