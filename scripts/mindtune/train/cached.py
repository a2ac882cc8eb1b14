"""The cached data set on a disk: splits of tokenised dialogues, and the order in which a seed
trains on them.
"""

import hashlib
from pathlib import Path
from typing import Any

from mindtune.records import read_json, sha256_file, write_json


def training_order(rows: int, seed: int) -> Any:
    """Row numbers in the order in which ms-swift 4.6.0 trains on a data set with `data_seed`.

    Its loader draws two numbers from a RandomState: the first for an augmentation that is off, the
    second is the seed of `Dataset.shuffle`, which permutes with numpy's default generator
    (swift/dataset/loader.py, load_dataset).
    """
    import numpy

    state = numpy.random.RandomState(seed)
    for _ in range(2):
        drawn = state.randint(0, numpy.iinfo(numpy.int32).max)
    return numpy.random.default_rng(drawn).permutation(rows)


def save_split(split: Any, target: Path) -> None:
    """Write a split to a folder whose bytes depend on its rows alone.

    Of dataset_info.json the columns' types are left, without which the rows cannot be read; the
    rest names paths of this machine. The fingerprint, a random number here, is the hash of the
    rows.
    """
    split.save_to_disk(str(target))
    info, state = read_json(target / "dataset_info.json"), read_json(target / "state.json")
    rows = "".join(sha256_file(target / file["filename"]) for file in state["_data_files"])
    write_json(target / "dataset_info.json", {"features": info["features"]})
    write_json(
        target / "state.json",
        state | {"_fingerprint": hashlib.sha256(rows.encode()).hexdigest()[:16]},
    )
