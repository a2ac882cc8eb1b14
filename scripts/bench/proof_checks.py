"""Right and wrong merges in memory, and the proof of the logits on each of them."""

import argparse
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bench.random_models import SHAPES, random_model
from bench.wrong_merges import (
    Adapter,
    Merging,
    truncated,
    wrong_adapters,
    wrong_configs,
    wrong_weights,
)
from mindtune.chat_template import load_chat, to_messages
from mindtune.cli import UserError
from mindtune.export.adapter import read_adapter
from mindtune.export.proof_logits import check_bounds, compare_logits, prompt_ids, summarise
from mindtune.records import read_jsonl
from mindtune.safe_loading import load_model
from mindtune.tensors import load_tensor

RIGHT = ("bfloat16", "float16", "float32")


RANK = 8


ALPHA = 32


def model_of(word: str, device: str) -> Any:
    """A model by its word: the name of a shape, or a folder."""
    import torch

    if word in SHAPES:
        return random_model(SHAPES[word], device).eval()
    if not Path(word).is_dir():
        raise UserError(f"--models: {word!r} is neither a folder nor one of {', '.join(SHAPES)}")
    return load_model(word, torch.float32).to(device).eval()


def random_adapter(merging: Merging, size: float, seed: int) -> Adapter:
    """A as peft draws it, B normal with a root mean square of `size`."""
    import torch

    draw = torch.Generator(merging.model.device).manual_seed(seed)
    pairs = {}
    for name, module in merging.linear.items():
        out, width = module.weight.shape
        a, b = (
            torch.empty(*shape, device=module.weight.device)
            for shape in ((RANK, width), (out, RANK))
        )
        pairs[name] = (
            a.uniform_(-(width**-0.5), width**-0.5, generator=draw),
            b.normal_(std=size, generator=draw),
        )
    return Adapter(pairs, ALPHA / RANK)


def trained_adapter(folder: Path, device: str) -> Adapter:
    """An adapter folder, in memory."""
    found = read_adapter(folder)
    pairs = {
        name: tuple(load_tensor(part).to(device) for part in pair)
        for name, pair in found.pairs.items()
    }
    return Adapter(pairs, found.scale)


def adapters(
    merging: Merging, args: argparse.Namespace, trained: str
) -> Iterator[tuple[str, int, Adapter, Adapter]]:
    """(what it is called, seed, adapter, the adapter of another training) for each check."""
    for size in args.sizes:
        for seed in range(args.seeds):
            pair = [random_adapter(merging, size, 2 * seed + other) for other in (0, 1)]
            yield f"B {size:g}", seed, pair[0], pair[1]
    if trained:
        adapter = trained_adapter(Path(trained), merging.model.device.type)
        sizes = [b.float().square().mean().sqrt().item() for _, b in adapter.pairs.values()]
        name = f"trained, B {sum(sizes) / len(sizes):.2g}"
        for seed in range(args.seeds):
            yield name, seed, adapter, random_adapter(merging, sum(sizes) / len(sizes), seed)


def merges(merging: Merging, right: Adapter, other: Adapter) -> Iterator[tuple[str, str, Any]]:
    """(right or kind of wrong, name, context in which the model is that merge) of every case."""
    import torch

    def rounding(dtype: str) -> Any:
        return lambda weight: weight.to(getattr(torch, dtype)).float()

    for dtype in RIGHT:
        merging.load(right, rounding(dtype))
        yield "right", dtype, nullcontext()
    merging.load(right, truncated)
    yield "wrong weights", "rounded by truncation", nullcontext()
    for name, adapter in wrong_adapters(right, other).items():
        merging.load(adapter, rounding("bfloat16"))
        yield "wrong weights", name, nullcontext()
    for name, change in wrong_weights().items():
        merging.load(right, rounding("bfloat16"))
        with torch.no_grad():
            change(merging)
        yield "wrong weights", name, nullcontext()
    for name, loaded in wrong_configs(merging.model).items():
        merging.load(right, rounding("bfloat16"))
        with torch.no_grad():
            yield "wrong config", name, loaded(merging)


def logits_of(model: Any, prompts: list[Any]) -> Iterator[Any]:
    """Logits of each prompt, where the model is."""
    import torch

    for ids in prompts:
        with torch.inference_mode():
            yield model(input_ids=ids.to(model.device)).logits[0].float()


def refuses(facts: Mapping[str, Any], bounds: Mapping[str, Any]) -> bool:
    """Whether the proof would refuse a merge with these facts."""
    try:
        check_bounds(facts, bounds)
    except UserError:
        return True
    return False


def check(
    merging: Merging, right: Adapter, other: Adapter, prompts: list[Any], bounds: Any
) -> Iterator[Any]:
    """One check of every case: its facts, and whether the proof refused it.

    The second reference of the proof, base + adapter merged and rounded by peft, is the right
    merge in bfloat16, so for a right merge that comparison finds 0 here: that peft's bits are ours
    is for tests and for the proof itself to show.
    """
    with merging.unmerged(right):
        wanted = list(logits_of(merging.model, prompts))
    right_logits: list[Any] = []
    for kind, name, state in merges(merging, right, other):
        with state:
            found = list(logits_of(merging.model, prompts))
        right_logits = right_logits or found
        facts, near = (
            summarise(
                [compare_logits(*pair) for pair in zip(reference, found, strict=True)], bounds
            )
            for reference in (wanted, right_logits)
        )
        facts["max_loaded_rms_in_deviations"] = (
            0.0 if kind == "right" else near["max_rms_in_deviations"]
        )
        first = {
            key: value for key, value in facts.items() if key != "max_loaded_rms_in_deviations"
        }
        verdicts = {
            "refused": refuses(facts, bounds),
            "refused by the first": refuses(first, bounds),
        }
        yield {"is": kind, "merge": name, **verdicts, **facts}


def measure(label: str, word: str, trained: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every check of one model."""
    import torch

    device = "cuda" if args.device == "gpu" else "cpu"
    dialogues = [to_messages(row["conversations"]) for row in read_jsonl(args.prompts)]
    reader = load_chat(args.tokenizer if word in SHAPES else word)
    merging = Merging(model_of(word, device), torch.bfloat16)
    found, start = [], time.monotonic()
    for name, seed, right, other in adapters(merging, args, trained):
        drawn = random.Random(seed).sample(dialogues, min(args.n_prompts, len(dialogues)))
        prompts = prompt_ids(reader, drawn, args.max_prompt_tokens)
        rows = check(merging, right, other, prompts, args.bounds)
        found += [{"model": label, "adapters": name, **row} for row in rows]
        print(f"{label}, {name}, seed {seed}: {time.monotonic() - start:.0f} s", flush=True)
    return found
