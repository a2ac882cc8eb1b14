"""Embeddings of texts by a local encoder: its last hidden states, pooled as the folder says, each
of length 1, so that a product of two is the cosine of their angle.

A folder of sentence-transformers says how in modules.json and 1_Pooling/config.json; what it says
and is not done here is refused. Any other folder gets the mean over its tokens. Texts are given as
they are, without an instruction before them. sentence-transformers itself is not needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.batches import by_length
from mindtune.cli import UserError
from mindtune.model_files import check_json
from mindtune.safe_loading import load_config, load_encoder, load_tokenizer
from mindtune.torch_device import torch_device

# Tokens of a text that are read, if the encoder itself takes no fewer; what is cut is counted
MOST_TOKENS = 512
# Texts that are tokenised and sorted by length at a time, and tokens of a batch
WINDOW = 8192
BATCH_TOKENS = {"cpu": 4096, "gpu": 65536}
MODULES = ("Transformer", "Pooling", "Normalize")
# sentence-transformers' names, in its older and its newer form, and ours
POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class Encoder:
    """A model on its device with its tokenizer; `pooling` is mean, cls or lasttoken, and `most` the
    tokens of a text that it reads.
    """

    model: Any
    tokenizer: Any
    pooling: str
    most: int
    batch_tokens: int

    @property
    def dimensions(self) -> int:
        """The length of an embedding."""
        return int(self.model.config.hidden_size)


def pooling_of(folder: Path) -> str:
    """How the folder wants hidden states pooled; a UserError for what is not done here."""
    if not (folder / "modules.json").is_file():
        return "mean"
    modules = check_json(folder / "modules.json").get("modules", [])
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules]
    strange = [kind for kind in kinds if kind not in MODULES]
    if strange or "Pooling" not in kinds:
        raise UserError(
            f"{folder / 'modules.json'} has the modules {', '.join(kinds)}; expected "
            f"{', '.join(MODULES)} only: use an encoder whose embedding is its pooled last layer"
        )
    path = folder / str(modules[kinds.index("Pooling")].get("path")) / "config.json"
    said = check_json(path)
    chosen = [name for key, name in POOLINGS.items() if said.get(key) is True]
    others = [key for key in said if key.startswith("pooling_mode_") and said[key] is True]
    if said.get("pooling_mode") in POOLINGS.values():
        chosen, others = [said["pooling_mode"]], [said["pooling_mode"]]
    if len(chosen) != 1 or len(others) != 1:
        raise UserError(
            f"{path} pools by {', '.join(others) or 'nothing that is known'}; expected one of "
            f"{', '.join(POOLINGS)}: use another encoder"
        )
    return chosen[0]


def limit_of(folder: Path, model: Any, tokenizer: Any) -> int:
    """Tokens of a text that the encoder takes, MOST_TOKENS at most."""
    path, limits = folder / "sentence_bert_config.json", [MOST_TOKENS, tokenizer.model_max_length]
    if path.is_file():
        limits.append(check_json(path).get("max_seq_length"))
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and "roberta" in model.config.model_type:
        positions -= model.config.pad_token_id + 1  # its positions begin after that of padding
    return int(min(limit for limit in [*limits, positions] if limit))


def check_whole(folder: Path) -> None:
    """The folder has the parts of a model; a UserError names the one that is missing."""
    for pattern in ("config.json", "tokenizer*", "*.safetensors"):
        if not any(folder.glob(pattern)):
            raise UserError(
                f"{folder.resolve()} has no {pattern}; data.split.paraphrases.path has to name the "
                f"folder of an encoder, with config.json, a tokenizer and weights as safetensors"
            )


def open_encoder(folder: Path, device: str) -> Encoder:
    """The encoder in float32 on a CPU or a GPU, looked through first as every model is."""
    import torch

    place = torch_device(device)
    check_whole(folder)
    tokenizer, pooling = load_tokenizer(folder), pooling_of(folder)
    if load_config(folder).is_encoder_decoder:
        raise UserError(
            f"{folder / 'config.json'} is that of a model with a decoder behind its encoder; use "
            f"an encoder like BERT, or a decoder alone"
        )
    model = load_encoder(folder, torch.float32).to(place).eval()
    limit = limit_of(folder, model, tokenizer)
    return Encoder(model, tokenizer, pooling, limit, BATCH_TOKENS[device])


def pooled(hidden: Any, mask: Any, pooling: str) -> Any:
    """One vector of length 1 a text; `hidden` has shape (texts, tokens, dimensions), `mask` (texts,
    tokens) is 1 where a token is a text's own.
    """
    import torch

    if pooling == "cls":
        found = hidden[:, 0]
    elif pooling == "lasttoken":
        found = hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
    else:
        found = (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(found.float(), dim=1)


def token_ids(encoder: Encoder, texts: Sequence[str]) -> tuple[list[list[int]], int]:
    """(token ids of each text with the encoder's own special tokens, how many texts were cut)."""
    ids = encoder.tokenizer(list(texts), verbose=False)["input_ids"]
    long = [place for place, found in enumerate(ids) if len(found) > encoder.most]
    for place in long:
        ids[place] = encoder.tokenizer(texts[place], truncation=True, max_length=encoder.most)[
            "input_ids"
        ]
    return ids, len(long)


def embed_batch(encoder: Encoder, rows: Sequence[Sequence[int]]) -> Any:
    """Embeddings of texts given as token ids, shape (texts, dimensions)."""
    import torch

    longest, pad = max(map(len, rows)), encoder.tokenizer.pad_token_id or 0
    device = encoder.model.device
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=device)
    own = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    hidden = encoder.model(input_ids=ids, attention_mask=own).last_hidden_state
    return pooled(hidden, own, encoder.pooling)


def embed(encoder: Encoder, texts: Sequence[str]) -> tuple[Any, int]:
    """(embeddings of shape (texts, dimensions) on the encoder's device, how many texts were cut).
    An embedding that is no number is a UserError.
    """
    import torch

    found = torch.empty((len(texts), encoder.dimensions), device=encoder.model.device)
    cut = 0
    for start in range(0, len(texts), WINDOW):
        ids, long = token_ids(encoder, texts[start : start + WINDOW])
        cut += long
        for batch in by_length([len(row) for row in ids], encoder.batch_tokens):
            with torch.inference_mode():
                part = embed_batch(encoder, [ids[place] for place in batch])
                found[[start + place for place in batch]] = part
    if not bool(torch.isfinite(found).all()):
        raise UserError(
            "the encoder gives embeddings that are no numbers (NaN); its weights are broken: fetch "
            "them again, or use another encoder"
        )
    return found, cut
