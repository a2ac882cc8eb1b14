"""What a model's folder from a hub or from this machine must have, and what none may have: pickles
and code are refused (see mindtune.model_files).
"""

from pathlib import Path, PurePosixPath

from mindtune.chat_templates import check_templates
from mindtune.cli import UserError
from mindtune.model_files import check_files, read_object
from mindtune.records import list_files


def check_model(folder: Path, whole: bool) -> None:
    """What a model folder must have, config.json and tokenizer.json, and when whole every shard;
    and what none may have.
    """
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise UserError(
                f"the model has no {name} among its files; expected a complete Hugging Face model "
                f"folder, fetch it again"
            )
    check_files(folder)
    check_templates(folder)
    if not whole:
        return
    present = {name for name in list_files(folder) if name.endswith(".safetensors")}
    if missing := sorted(shards(folder) - present):
        raise UserError(
            f"the model lacks {len(missing)} of its weight files, {missing[0]} first; fetch it "
            f"again, or complete the folder"
        )


def shards(folder: Path) -> set[str]:
    """Names of the weight files that a model's index lists, or of the one that it has without an
    index.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return {"model.safetensors"}
    names = read_object(index).get("weight_map")
    files = (
        set(names.values())
        if isinstance(names, dict) and all(map(is_plain, names.values()))
        else set()
    )
    if not files:
        raise UserError(
            f"{index} has no weight_map of tensors to file names; fetch the model again"
        )
    return files


def is_plain(name: object) -> bool:
    """True for the name of a file that lies in the folder itself."""
    return isinstance(name, str) and name == PurePosixPath(name).name


def compare_parts(hashes: dict[str, str], tokenizer: dict[str, str], key: str) -> None:
    """The tokenizer was fetched apart and before: its files must be those of the whole model,
    whose hash may be pinned.
    """
    if differing := sorted(name for name in tokenizer if hashes.get(name) != tokenizer[name]):
        raise UserError(
            f"{key}: {differing[0]} of the tokenizer that was fetched before is not that of the "
            f"whole model; the source changed "
            "in between, so check it, delete results/base/fetch_tokenizer.json and run again"
        )
