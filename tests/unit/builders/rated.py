"""A working directory with the scored replies of a run, for the tests of rating sheets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mindtune.records import sha256_file, write_hashed_record, write_jsonl

# What replies may say that is no text to a browser or a spreadsheet
HOSTILE = (
    "</script><script>document.title = 'taken'</script>",
    "=HYPERLINK(\"http://example.invalid\", \"点我\")",
    "+1-800",
    "-好的，\r\n第二行",
    "@SUM(A1)",
    "＝1+1",
    "'=1",
    "\t=2",
    "<img src=x onerror=\"document.title = 'taken'\"> & \u2028 \u202e 反",
    "他说：\"嗯\"，然后；走了 😀",
)  # fmt: skip


def rows_of(model: str, dialogues: int, turns: int, texts: Sequence[str]) -> list[dict]:
    """Replies to `turns` turns of each dialogue; every second dialogue is English."""
    return [
        {
            "id": f"d{dialogue}#{turn}",
            "dialogue": f"d{dialogue}",
            "turn": turn,
            "prompt": [
                {"role": "system", "content": "你是一位心理咨询师。"},
                {
                    "role": "user",
                    "content": f"I cannot sleep, {dialogue}." if dialogue % 2 else "我睡不着。",
                },
            ],
            "reply": f"{texts[(dialogue * turns + turn) % len(texts)]} {model}",
        }
        for dialogue in range(dialogues)
        for turn in range(turns)
    ]


def rated_run(
    work: Path, dialogues: int = 6, turns: int = 2, texts: Sequence[str] = HOSTILE
) -> Path:
    """Make results/ of a run `main` on a dataset `demo`, as far as a sheet needs it."""
    places = {
        "base": work / "results/base/replies/demo/dialogue.jsonl",
        "tuned": work / "results/runs/main/replies/dialogue.jsonl",
    }
    hashes = {}
    for model, path in places.items():
        write_jsonl(path, rows_of(model, dialogues, turns, texts))
        name = path.relative_to(work).as_posix()
        hashes[name] = sha256_file(path)
        record(path.with_suffix(".json"), "generate_replies", {}, {name: hashes[name]})
    record(work / "results/runs/main/scores/dialogue.json", "score_dialogue", hashes, {})
    return work


def record(path: Path, stage: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """A record whose paths start at the working directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_hashed_record(
        path, stage, inputs=inputs, outputs=outputs, params={}, facts={}, packages=()
    )
