"""What rows say that training does not heed: counted, so that nobody finds out from the model."""

import re

_WEIGHT = re.compile(rb'"weight"\s*:\s*0(?:\.0*)?\s*[,}\]]')
_IMAGE = re.compile(
    rb'"type"\s*:\s*"(?:input_)?image|"(?:images?|image_url|videos?|audios?)"\s*:\s*+'
    rb'(?!\[\s*\]|null|""|\{\s*\})'
)
_TOOL = re.compile(rb'"(?:tool_calls|function_call)"\s*:\s*+(?!\[\s*\]|null|""|\{\s*\})')
_UNSAFE = re.compile(rb'"label"\s*:\s*"unsafe"', re.IGNORECASE)
WHAT = {
    "weight_0": "a turn of weight 0: a counsellor's stays as context and is not learned",
    "unsafe": "a label `unsafe`, which are learned all the same: take them out",
    "think": "<think> in a turn, which is learned as text",
    "tool_calls": "a call of a tool, which is not read",
    "images": "an image, a video or sound, which is not read",
}


def noticed(data: bytes) -> list[str]:
    """Names of WHAT that a row's JSON holds."""
    found = []
    if b'"weight"' in data and _WEIGHT.search(data):
        found.append("weight_0")
    if b'"label"' in data and _UNSAFE.search(data):
        found.append("unsafe")
    if b"<think>" in data:
        found.append("think")
    if (b'"tool_calls"' in data or b'"function_call"' in data) and _TOOL.search(data):
        found.append("tool_calls")
    if (b'"image' in data or b'"video' in data or b'"audio' in data) and _IMAGE.search(data):
        found.append("images")
    return found
