"""Trainings of some steps beside a base in bf16 and in FP8, from the same start."""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mindtune.config_checks import PROJECTIONS
from mindtune.records import read_jsonl
from mindtune.safe_loading import load_model
from mindtune.train.lora import speed_up_lora

ROLES = {"system": "system", "human": "user", "gpt": "assistant"}
WARMUP = 20  # steps
RATE = 2e-4


def sequences(tokenizer: Any, dialogues: Path, length: int) -> torch.Tensor:
    """(n, length) of token ids: all dialogues in the model's chat template, one after another."""
    stream: list[int] = []
    for row in read_jsonl(dialogues):
        turns = [
            {"role": ROLES[turn["from"]], "content": turn["value"]} for turn in row["conversations"]
        ]
        stream += tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    count = len(stream) // length
    return torch.tensor(stream[: count * length]).view(count, length)


def adapted(folder: Path, seed: int, fp8: bool) -> Any:
    """The base with new adapters of rank 8 on all seven matrices."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    base = load_model(folder, dtype=torch.bfloat16).to("cuda")
    config = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.1, target_modules=list(PROJECTIONS))
    model = get_peft_model(base, config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    speed_up_lora(model, fused=True, fp8=fp8)
    return model


def batches(data: torch.Tensor, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Batches without end, in the order of a seed."""
    order = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(len(data), generator=order).split(size):
            if len(rows) == size:
                yield data[rows].cuda()


def train(model: Any, data: torch.Tensor, args: argparse.Namespace, seed: int) -> list[float]:
    """Train some steps; return the losses."""
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    losses = []
    for step, ids in zip(range(args.steps), batches(data, args.batch, seed), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARMUP)
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return [float(loss) for loss in losses]


def measured(model: Any, data: torch.Tensor, beside: Any = None) -> dict[str, float]:
    """Mean loss of a model on sequences, and the KL divergence from it to another, in nats a
    token.
    """
    model.eval()
    loss, divergence = 0.0, 0.0
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        for ids in data.cuda().split(4):
            logits = model(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
            loss -= float(logits.gather(-1, ids[:, 1:, None]).mean()) * len(ids)
            if beside:
                other = beside(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
                divergence += float((logits.exp() * (logits - other)).sum(-1).mean()) * len(ids)
    found = {"loss": loss / len(data)}
    return found | ({"kl": divergence / len(data)} if beside else {})


def one_seed(
    args: argparse.Namespace, data: torch.Tensor, dev: torch.Tensor, seed: int
) -> dict[str, Any]:
    """Both trainings of a seed, and the FP8 one's adapter beside the base in bf16."""
    found: dict[str, Any] = {"seed": seed}
    for name, fp8 in (("bf16", False), ("fp8", True)):
        model = adapted(args.model, seed, fp8)
        losses = train(model, data, args, seed)
        found[name] = {"first": losses[0], "last_20": statistics.mean(losses[-20:])}
        found[name]["dev"] = measured(model, dev)["loss"]
    merged = adapted(args.model, seed, False)
    adapters = {name: part for name, part in model.state_dict().items() if "lora_" in name}
    merged.load_state_dict(adapters, strict=False)
    moved = measured(merged.eval(), dev, beside=model)
    found["fp8_adapter_beside_bf16"] = {"dev": moved["loss"], "kl_to_fp8": moved["kl"]}
    return found
