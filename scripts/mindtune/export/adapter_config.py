"""What an adapter_config.json may say: shared by the merge and its proof, which otherwise compute
apart.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.provenance import read_record
from mindtune.records import read_json
from mindtune.tensors import is_full


def rank_and_alpha(config: Mapping[str, Any], path: Path) -> tuple[int, float]:
    """(rank, alpha), which must be a whole number and a number, both above zero: else the update
    would vanish, turn round or be no number.
    """
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise UserError(
            f"{path}: r is {rank!r}; expected a whole number of 1 or more, so train again"
        )
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < math.inf:
        raise UserError(
            f"{path}: lora_alpha is {alpha!r}; expected a number above 0, so train again"
        )
    return rank, alpha


def check_trained(folder: Path, made_by: Sequence[Path]) -> None:
    """The adapter's configuration says what the training's record says that it was trained with."""
    if is_full(folder):
        return
    path = folder / "adapter_config.json"
    config = read_json(path)
    for name in made_by:
        record = read_record(name)
        if record["stage"] != "train_lora":
            continue
        settings = record["params"]
        trained = {
            "r": settings["lora"]["rank"],
            "lora_alpha": settings["lora"]["alpha"],
            "use_rslora": False,
            "use_dora": settings["method"] == "dora",
        }
        for key, value in trained.items():
            if config.get(key, False) != value:
                raise UserError(
                    f"{path}: {key} is {config.get(key)!r}, and by {name} it was trained with "
                    f"{value!r}; "
                    "put the file back as it was, or delete the adapter and its record and train "
                    "again"
                )
