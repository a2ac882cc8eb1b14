"""Near-duplicate search over dialogues with one tool each, for the benchmark: our own, a loop over
rensa, datatrove.

`python -m mindtune.bench_peers TOOL PLAIN.jsonl KEPT.jsonl`; a plain row is {"id", "text"}, and
text is what is compared.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PERMUTATIONS, BANDS, NGRAM, THRESHOLD = 128, 16, 5, 0.8


def write_plain(corpus: Path, plain: Path) -> None:
    """The spoken text of every ShareGPT row."""
    import orjson
    from mindtune.data.duplicates import spoken_text

    with corpus.open("rb") as rows, plain.open("wb") as stream:
        for row in map(orjson.loads, rows):
            stream.write(
                orjson.dumps({"id": row["id"], "text": spoken_text(row["conversations"])}) + b"\n"
            )


def ours(plain: Path, kept: Path) -> None:
    """The data stage's own search."""
    import numpy as np
    import orjson
    from mindtune.data.duplicates import band_keys, copies_to_drop, similar_pairs

    lines = plain.read_bytes().splitlines()
    bands = [
        band_keys(
            [orjson.loads(line)["text"] for line in lines[start : start + 400]], NGRAM, THRESHOLD
        )
        for start in range(0, len(lines), 400)
    ]
    pairs = similar_pairs(
        np.concatenate(bands), lambda row: orjson.loads(lines[row])["text"], NGRAM, THRESHOLD
    )
    dropped = copies_to_drop(pairs)
    kept.write_bytes(b"\n".join(line for row, line in enumerate(lines) if row not in dropped))


def rensa_loop(plain: Path, kept: Path) -> None:
    """One MinHash at a time, its candidates verified: what one writes with rensa's documentation
    at hand.
    """
    import orjson
    import rensa
    from mindtune.data.ngrams import grams, jaccard

    index = rensa.RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=BANDS)
    texts: list[str] = []
    with plain.open("rb") as rows, kept.open("wb") as stream:
        for line in rows:
            text = orjson.loads(line)["text"]
            tokens = grams(text, NGRAM)
            signature = rensa.RMinHash(num_perm=PERMUTATIONS, seed=42)
            signature.update(list(tokens))
            if not any(
                jaccard(tokens, grams(texts[other], NGRAM)) >= THRESHOLD
                for other in index.query(signature)
            ):
                index.insert(len(texts), signature)
                texts.append(text)
                stream.write(line)


def datatrove_stages(folder: str) -> list[tuple[list[Any], int]]:
    """(pipeline, tasks) of datatrove's four stages on the two files in `folder`/parts."""
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig(n_grams=NGRAM, num_buckets=14, hashes_per_bucket=8)
    reader = JsonlReader(f"{folder}/parts")
    signatures, buckets, removed = (
        f"{folder}/{name}" for name in ("signatures", "buckets", "removed")
    )
    kept = JsonlWriter(f"{folder}/kept", compression=None)
    return [
        ([reader, MinhashDedupSignature(signatures, config=config, language="cmn_Hani")], 2),
        ([MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets),
        ([MinhashDedupCluster(buckets, removed, config=config)], 1),
        ([reader, MinhashDedupFilter(removed), kept], 2),
    ]


def datatrove(plain: Path, kept: Path) -> None:
    """datatrove's four MinHash stages with its tokenizer for Mandarin, two workers."""
    from datatrove.executor import LocalPipelineExecutor

    with TemporaryDirectory() as folder:
        lines = plain.read_bytes().splitlines(keepends=True)
        parts = Path(folder, "parts")
        parts.mkdir()
        for part in range(2):
            (parts / f"{part}.jsonl").write_bytes(
                b"".join(lines[part * len(lines) // 2 : (part + 1) * len(lines) // 2])
            )
        for number, (pipeline, tasks) in enumerate(datatrove_stages(folder)):
            LocalPipelineExecutor(
                pipeline, tasks=tasks, workers=2, logging_dir=f"{folder}/logs/{number}"
            ).run()
        rows = [
            json.loads(line)
            for path in sorted(Path(folder, "kept").glob("*.jsonl"))
            for line in path.open(encoding="utf-8")
        ]
    kept.write_text("\n".join(json.dumps({"id": row["id"]}) for row in rows), encoding="utf-8")


if __name__ == "__main__":
    {"ours": ours, "rensa": rensa_loop, "datatrove": datatrove}[sys.argv[1]](
        Path(sys.argv[2]), Path(sys.argv[3])
    )
