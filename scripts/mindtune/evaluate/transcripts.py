"""Transcripts of simulated conversations: one JSON row each, with the hashes of who spoke and of
what was said.

A row has the prompt and the reply of its last turn, too, so that it can be read as a suite's reply.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.conversation import Turn, counsellor_messages
from mindtune.evaluate.personas import Persona
from mindtune.evaluate.scoring import Rows, read_by_id
from mindtune.records import to_json


def sha256_json(data: Any) -> str:
    """Hash of a value's canonical JSON."""
    return hashlib.sha256(to_json(data).encode()).hexdigest()


def transcript(
    persona: Persona, said: Sequence[Turn], ended: str, system: str | None, about: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of a conversation; `about` says which client spoke and with which seed."""
    turns = [{"client": turn.client, "reply": turn.reply, **turn.about} for turn in said]
    last = said[-1]
    return {
        "id": persona.name,
        "cluster": persona.name,
        "lang": persona.lang,
        "concern": persona.concern,
        "risk": persona.risk,
        "disclosure": persona.disclosure,
        **about,
        "persona_sha256": sha256_json(persona.said()),
        "ended": ended,
        "turns": turns,
        "sha256": sha256_json(turns),
        "prompt": counsellor_messages(said[:-1], last.client, system),
        "reply": last.reply,
        "finish_reason": last.about["finish_reason"],
    }


def check_said(row: Mapping[str, Any], path: Path | str) -> None:
    """The turns of a conversation have the hash that it names; else a UserError."""
    if sha256_json(row["turns"]) != row["sha256"]:
        raise UserError(f"{path}: what was said in {row['id']} was changed; simulate it again")


def check_same_clients(base: Rows, tuned: Mapping[str, Rows]) -> None:
    """Every run ({run: rows}) talked with the clients that base talked with, and with their seed:
    else two conversations are no pair.
    """
    for run, rows in tuned.items():
        for name in sorted(base.keys() & rows.keys()):
            for key in ("persona_sha256", "client", "seed"):
                if base[name][key] != rows[name][key]:
                    raise UserError(
                        f"conversations: {key} of {name} is {base[name][key]} with base and "
                        f"{rows[name][key]} with run {run}; simulate both again"
                    )


def read_transcripts(path: Path, personas: Mapping[str, Persona]) -> dict[str, list[Any]]:
    """{persona: turns} of a transcripts file; a changed turn or another persona is a UserError."""
    found = {}
    for name, row in read_by_id(path).items():
        check_said(row, path)
        if name not in personas or sha256_json(personas[name].said()) != row["persona_sha256"]:
            raise UserError(f"{path}: {name} is of another persona than today's; simulate it again")
        found[name] = row["turns"]
    return found
