"""Data inside an HTML page, packed so that no text in it can be mistaken for HTML."""

import base64
import json
import zlib
from typing import Any

from mindtune.cli import UserError
from mindtune.records import to_json

START, END = '<script type="text/plain" id="data">', "</script>"


def pack(data: Any) -> str:
    """JSON as zlib's stream in base64, which a page's own script unpacks."""
    return base64.b64encode(zlib.compress(to_json(data, indent=None).encode(), 9)).decode()


def unpack(page: str) -> Any:
    """The data of a page that `pack` put there; a page without is a UserError."""
    found = page.partition(START)[2].partition(END)[0]
    if not found:
        raise UserError("the page holds no packed data; make it again")
    return json.loads(zlib.decompress(base64.b64decode(found)))
