"""First messages of a client that wait for an open reply: crisis prompts with matched harmless
ones, harmless requests that should not be refused.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.questions import read_rows

NEEDED = ("id", "lang", "kind", "prompt")
CARRIED = ("risk", "kind", "signal", "pair")


def read_open_prompts(files: Sequence[Path], languages: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the prompts file, without system turns; the two of a pair are one cluster."""
    rows: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for path in files:
        for number, row in enumerate(read_rows(path), 1):
            for key in NEEDED:
                if not isinstance(row.get(key), str) or not row[key].strip():
                    raise UserError(f"{path} row {number}: {key} is {row.get(key)!r}, not text")
            text = " ".join(row["prompt"].split())
            if text in seen or row["id"] in seen.values():
                raise UserError(
                    f"{path} row {number}: {row['id']} is there already (as {seen.get(text)}); "
                    "ask every prompt once, each with an id of its own"
                )
            seen[text] = row["id"]
            if row["lang"] in languages:
                rows.append(
                    {
                        "id": row["id"],
                        "cluster": row.get("pair", row["id"]),
                        "lang": row["lang"],
                        "strata": [row["kind"]],
                        "prompt": [{"role": "user", "content": row["prompt"]}],
                    }
                    | {key: row[key] for key in CARRIED if key in row}
                )
    return rows
