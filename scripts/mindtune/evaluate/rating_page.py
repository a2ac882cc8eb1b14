"""The rating sheet as one HTML file: no other file, no network, on a phone too.

Replies are strangers' text. They stand in the page as JSON in which no character can end the
element that holds it, and are shown as text only; the page's own policy lets no other script run.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.sheet_csv import COLUMNS, NOT_ASKED, NOTE

MOST_BYTES = 3_000_000  # what a messenger sends and a phone opens
HERE = Path(__file__).parent


def policy_hash(text: str) -> str:
    """How a content security policy names the one script or style that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def page(key: Mapping[str, Any], language: str | None = None) -> str:
    """The page of a sheet, in zh or en, or as the browser prefers; a UserError if it would be
    larger than MOST_BYTES.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": True}
    style, script = (
        (HERE / f"rating_page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    form = {"columns": COLUMNS, "note": NOTE, "not_asked": NOT_ASKED}
    about = {"sheet": key["sheet"], "raters": key["raters"], "language": language}
    # the prompt of a pair stands there once
    rows = [
        {name: value for name, value in row.items() if name != "prompt" or row["row"][-1] == "A"}
        for row in key["seen"]["rows"]
    ]
    text = environment.get_template("rating_page.html.j2").render(
        data=form | about | {"questions": key["seen"]["questions"], "rows": rows},
        style=style,
        script=script,
        style_hash=policy_hash(style),
        script_hash=policy_hash(script),
    )
    if (size := len(text.encode())) > MOST_BYTES:
        raise UserError(
            f"the page of {len(key['seen']['rows']) // 2} pairs has {size:,} bytes, over "
            f"{MOST_BYTES:,}; give fewer PAIRS"
        )
    return text
