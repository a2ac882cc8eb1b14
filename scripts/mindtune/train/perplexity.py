"""How likely a model finds what the counsellors of each dialogue say: the mean negative
log-likelihood, in nats a token, of the tokens that a training on it would learn.

Tokens and labels are those of the trainer's own template, so client turns, the system prompt and
replies that are not learned are read and not counted. exp() of the mean is the perplexity.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mindtune.batches import by_length
from mindtune.chat_template import to_messages
from mindtune.cli import UserError
from mindtune.safe_loading import load_model, swift_template
from mindtune.torch_device import torch_device
from mindtune.train.splits import said_what_is_learned
from mindtune.train.token_columns import learned_labels

# Dialogues that are sorted by length and laid together: bounds memory, whatever the set's size
WINDOW = 2048
# Tokens of a batch, with those that fill it up. The logits of a token take 4 bytes (2 on a GPU) a
# word of the vocabulary: 0.6 GB here for Qwen2.5 on a CPU, 5 GB on a GPU
BATCH_TOKENS = {"cpu": 1024, "gpu": 16384}
# Tokens whose logits are made float32 at a time
AT_ONCE = 1024
NOT_LEARNED = -100
LISTED = 10  # dialogues named at each end
Encoded = tuple[str, list[int], list[int]]


def encoded(
    rows: Iterable[Mapping[str, Any]], folder: Path, kind: Mapping[str, Any]
) -> Iterator[Encoded]:
    """(id, token ids, labels) of dialogues, as the trainer gets them; what is not learned has the
    label -100. `kind` has the model's `type` and `template`.
    """
    template = swift_template(folder, kind, max_length=None)
    template.set_mode("train")
    for row in said_what_is_learned(rows):
        messages = to_messages(row["conversations"])
        for message, turn in zip(messages, row["conversations"], strict=True):
            if "loss" in turn:
                message["loss"] = turn["loss"]
        found = template.encode({"messages": messages})
        yield row["id"], found["input_ids"], learned_labels(found["labels"], messages)


def load_for(folder: Path, device: str) -> Any:
    """The model on its device: bfloat16 on a GPU, float32 on a CPU."""
    import torch

    place = torch_device(device)
    dtype = torch.bfloat16 if device == "gpu" else torch.float32
    return load_model(folder, dtype).to(place).eval()


def sums(model: Any, rows: Sequence[Encoded]) -> list[float]:
    """The negative log-likelihood of each row's learned tokens, summed, in nats."""
    import torch
    from torch.nn.functional import cross_entropy

    longest = max(len(ids) for _, ids, _ in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    labels = torch.full_like(ids, NOT_LEARNED)
    mask = torch.zeros_like(ids)
    for place, (_, row, learned) in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        labels[place, : len(row)] = torch.tensor(learned)
        mask[place, : len(row)] = 1
    found = []
    with torch.inference_mode():
        logits = model(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False
        ).logits
        for scores, wanted in zip(logits, labels, strict=True):
            (places,) = (wanted[1:] != NOT_LEARNED).nonzero(as_tuple=True)
            parts = [
                cross_entropy(
                    scores[part.to(model.device)].float(),
                    wanted[part + 1].to(model.device),
                    reduction="sum",
                ).item()
                for part in places.split(AT_ONCE)
                if len(part)
            ]
            found.append(sum(parts))
    return found


def measured(rows: Iterable[Encoded], model: Any, most: int) -> Iterator[dict[str, Any]]:
    """{id, tokens, nll} of each dialogue, in the order given: `tokens` are the learned ones, `nll`
    is in nats a token, None without a learned token.
    """
    rows = iter(rows)
    while window := list(islice(rows, WINDOW)):
        total = [0.0] * len(window)
        for batch in by_length([len(ids) for _, ids, _ in window], most):
            found = sums(model, [window[place] for place in batch])
            for place, value in zip(batch, found, strict=True):
                total[place] = value
        for (name, _, labels), value in zip(window, total, strict=True):
            tokens = sum(label != NOT_LEARNED for label in labels[1:])
            nll = round(value / tokens, 6) if tokens else None
            yield {"id": name, "tokens": tokens, "nll": nll}


def summary(table: Any) -> dict[str, Any]:
    """What the record says of a table with the columns id, tokens and nll: percentiles over
    dialogues, the mean over tokens, and the dialogues furthest out.
    """
    known = table.dropna(subset=["nll"])
    if known.empty:
        raise UserError(
            "no dialogue has a token that a training would learn, so no likelihood can be measured;"
            " check model.template"
        )
    order = known.sort_values(["nll", "id"], kind="stable")
    tokens, shares = int(known.tokens.sum()), (("p5", 0.05), ("median", 0.5), ("p95", 0.95))
    nll = {name: float(known.nll.quantile(share)) for name, share in shares}
    nll["mean_over_tokens"] = float((known.nll * known.tokens).sum()) / tokens
    return {
        "dialogues": len(table),
        "without_learned_tokens": len(table) - len(known),
        "tokens": tokens,
        "nll": {name: round(value, 4) for name, value in nll.items()},
        "likeliest": listed(order.head(LISTED)),
        "unlikeliest": listed(order.iloc[::-1].head(LISTED)),
    }


def listed(table: Any) -> list[dict[str, Any]]:
    """Rows of the table as the record has them."""
    return [
        {"id": row.id, "tokens": int(row.tokens), "nll": round(float(row.nll), 4)}
        for row in table.itertuples()
    ]
