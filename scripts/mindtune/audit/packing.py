"""Data inside an HTML page, packed so that no text in it can be mistaken for HTML."""

import base64
import json
import zlib
from typing import Any

from mindtune.records import to_json

MOST = 256 << 20  # bytes
START, END = '<script type="text/plain" id="data">', "</script>"


def pack(data: Any) -> str:
    """JSON as zlib's stream in base64, which a page's own script unpacks."""
    return base64.b64encode(zlib.compress(to_json(data, indent=None).encode(), 9)).decode()


def unpack(page: str) -> Any:
    """The data of a page that `pack` put there. A page without, or with more than a page of this
    project ever holds, is a ValueError.
    """
    found = page.partition(START)[2].partition(END)[0]
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(base64.b64decode(found), MOST)
    except zlib.error as error:
        raise ValueError(f"the page's data are not whole: {error}") from None
    if unpacking.unconsumed_tail:
        raise ValueError(f"the page's data are more than {MOST:,} bytes")
    return json.loads(text)
