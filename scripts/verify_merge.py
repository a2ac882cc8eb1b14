"""Prove that a merged model is its base plus its adapter, and that it reads dialogues as it was trained to.

Three proofs; if one fails there is no verify.json, and without it nothing can be exported:

1. Tensors. Every merged tensor equals round(fp32(W) + scale * (fp32(B) @ fp32(A))) bit for bit (for DoRA round(m * V / |V|), with V
   that sum and |V| the lengths of its rows; for method full the trained weights, rounded), every other one is the base's, the names
   are the same, and the config, tokenizer and template files are the base's bytes.
2. Logits. Base + adapter, unmerged (for method full the trained weights), against the merged folder as transformers loads it, over
   whole dialogues: this finds what equal tensors cannot, such as a config that loads them otherwise. Both run in `logits_dtype`; use float32, where what differs
   is only the rounding of the merged weights. That rounding is real: a bfloat16 keeps 8 bits, so each merged weight is off by up
   to 2^-8 of itself, and the logits by a share of their own spread that grows with the depth. The bound `max_logit_difference`
   is therefore counted in standard deviations of a position's logits over the vocabulary, which makes it the same for a toy
   whose logits spread by 0.2 and for a model whose logits spread by 3.7. Measured in float32 with adapters of random values:
   0.02 to 0.08 for two-layer toys and 0.1 for SmolLM2-135M (30 layers), where a merge without the adapter gives 5 and 1.
   Tokens that nearly tie may swap places, so the share of positions with the same first token is asked for by
   `min_argmax_agreement` and not demanded of all; in bfloat16 arithmetic it means little (0.98 for two equal models).
3. Prompts. The token ids of ms-swift's template (training) and of the merged folder's chat template (serving) are the same, for
   the prompt of a reply and for a whole dialogue: fixed chats in Chinese and English, with and without system prompt, of one and
   of several turns, and the given dialogues. For the fixed chats verify.json holds the messages and the number of prompt tokens,
   which a server reports as usage.prompt_tokens: that compares the server's rendering too.

The arithmetic is written a second time here on purpose; it shares with merge_adapter.py only the reading of files.

Reads   base, adapter and merged folders, and prompts (clean ShareGPT JSONL)
Writes  verify.json, the stage's record
"""

import argparse
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mindtune.adapter_config import check_trained, rank_and_alpha
from mindtune.chat import load_chat, to_messages
from mindtune.cli import UserError, run
from mindtune.provenance import add_made_by, check_inputs
from mindtune.records import (
    list_files,
    read_json,
    read_jsonl,
    sha256_file,
    sha256_files,
    sha256_listing,
    write_hashed_record,
)
from mindtune.shards import Tensor, is_full, load_tensor, read_model, read_tensors
from mindtune.swift import training_template

SYSTEM = {"zh": "你是一位温和、专业的心理咨询师。", "en": "You are a warm, professional counsellor."}
TURNS = {
    "zh": ["我最近总是睡不着，脑子停不下来。", "听起来这段时间很不容易。是从什么时候开始的？", "大概两周前，换了工作以后。\n\n我该怎么办？", "我们先从一件小事开始。"],
    "en": ["I can't sleep, my mind won't stop.", "That sounds exhausting. When did it start?", "Two weeks ago -- after the new job.\n\nWhat can I do?", "Let's begin with one small thing."],
}  # fmt: skip


def bits(values: Any) -> Any:
    """The values as integers, so that NaN equals NaN and 0.0 differs from -0.0."""
    import torch

    return values.contiguous().view({2: torch.int16, 4: torch.int32}[values.element_size()])


def expected_names(base: Mapping[str, Tensor], tied: bool) -> set[str]:
    """Names that the merged model must have: the base's, without a head that is stored although it is the embedding."""
    return {name for name in base if not (tied and name == "lm_head.weight")}


@dataclass(frozen=True)
class Change:
    """What training did to one tensor: A, B and for DoRA the magnitudes; or the whole tensor as it was trained."""

    parts: Mapping[str, Tensor]
    scale: float

    def applied(self, base: Any) -> Any:
        """The tensor after training, in fp32, not rounded."""
        values = {name: load_tensor(part).float() for name, part in self.parts.items()}
        if "whole" in values:
            return values["whole"]
        total = base.float() + (values["lora_B.weight"] @ values["lora_A.weight"]) * self.scale
        if "lora_magnitude_vector" in values:
            total *= values["lora_magnitude_vector"][:, None] / total.norm(dim=1, keepdim=True)
        return total


def prove_tensor(merged: Tensor, base: Tensor, change: Change | None) -> float:
    """Compare one tensor bit for bit and return the share of the merged weights' norm that rounding took (0 if nothing changed it).

    A difference, NaN or infinity is a UserError that names the tensor.
    """
    import torch

    found, values = load_tensor(merged), load_tensor(base)
    exact = change.applied(values) if change else values
    wanted = exact.to(found.dtype)
    if found.shape != wanted.shape or not torch.equal(bits(found), bits(wanted)):
        what = "what was trained, rounded" if change else "the base's tensor"
        detail = f"shape {list(found.shape)} instead of {list(wanted.shape)}"
        if found.shape == wanted.shape:
            differs = bits(found) != bits(wanted)
            largest = (found.float() - wanted.float()).abs().max().item()
            detail = f"{int(differs.sum())} of {found.numel()} values differ, by at most {largest:.3g}"
        raise UserError(f"{merged.file}: {merged.name} is not {what} ({detail}); merge again on this machine")
    if not torch.isfinite(found).all():
        raise UserError(
            f"{merged.file}: {merged.name} holds NaN or infinity; "
            + (
                f"the training diverged, or {found.dtype} is too small"
                if torch.isfinite(values).all()
                else f"so does the base itself ({base.file}): take another copy or revision of it"
            )
        )
    return ((wanted.float() - exact).norm() / exact.norm()).item() if change else 0.0


def changes_of(folder: Path) -> dict[str, Change]:
    """{name of the base's tensor: what training did to it}, of an adapter's folder or of a whole model's."""
    if is_full(folder):
        return {name: Change({"whole": tensor}, 1.0) for name, tensor in read_model(folder).items()}
    config = read_json(folder / "adapter_config.json")
    rank, alpha = rank_and_alpha(config, folder / "adapter_config.json")
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    kinds = ["lora_A.weight", "lora_B.weight", *(["lora_magnitude_vector"] if config.get("use_dora") else [])]
    tensors = read_tensors([folder / "adapter_model.safetensors"])
    found = [re.fullmatch(r"base_model\.model\.(.+)\.lora_A\.weight", name) for name in tensors]
    modules = [match[1] for match in found if match]
    wanted = {module: {kind: f"base_model.model.{module}.{kind}" for kind in kinds} for module in modules}
    if {name for parts in wanted.values() for name in parts.values()} != tensors.keys():
        raise UserError(
            f"{folder}: its {len(tensors)} tensors are not {' and '.join(kinds)} of {len(modules)} modules; train plain LoRA or DoRA"
        )
    return {
        f"{module}.weight": Change({kind: tensors[name] for kind, name in parts.items()}, scale)
        for module, parts in wanted.items()
    }


def prove_tensors(base_folder: Path, adapter: Path, merged_folder: Path) -> dict[str, Any]:
    """Prove all tensors, one at a time; return counts and the largest rounding."""
    base, merged, changes = read_model(base_folder), read_model(merged_folder), changes_of(adapter)
    names = expected_names(base, bool(read_json(merged_folder / "config.json").get("tie_word_embeddings")))
    for problem, wrong in (
        ("is missing from the merged model", names - merged.keys()),
        ("is not in the base", merged.keys() - names),
        ("is changed by the adapter, but not in the merged model", changes.keys() - merged.keys()),
    ):
        if wrong:
            raise UserError(f"{merged_folder}: {min(wrong)} {problem}; merge again")
    rounding = {name: prove_tensor(merged[name], base[name], changes.get(name)) for name in sorted(names)}
    return {
        "changed": {"n": len(changes), "exact": len(changes)},
        "other": {"n": len(names) - len(changes), "equal": len(names) - len(changes)},
        "max_difference": 0.0,
        "scale": None if is_full(adapter) else next(iter(changes.values())).scale,
        "dtypes": sorted({tensor.dtype for tensor in merged.values()}),
        "largest_rounding": max(rounding.values()),
    }


def prove_side_files(base: Path, merged: Path) -> dict[str, str]:
    """Every file beside the weights is the base's, but for the stated dtype; return {name: sha256}."""
    hashes = {}
    for name in list_files(merged):
        if name.endswith(".safetensors") or name == "model.safetensors.index.json":
            continue
        if not (base / name).is_file():
            raise UserError(f"{merged / name} is not in the base; merge again")
        hashes[name] = sha256_file(merged / name)
        if hashes[name] == sha256_file(base / name):
            continue
        if name == "config.json" and without_dtype(base / name) == without_dtype(merged / name):
            continue
        raise UserError(
            f"{merged / name} differs from the base's; serving would not read what training read, so merge again"
        )
    needed = re.compile(
        r"config\.json|generation_config\.json|chat_template\.jinja|vocab\.json|merges\.txt|tokenizer[^/]*"
    )
    missing = {name for name in list_files(base) if needed.fullmatch(name)} - hashes.keys()
    if missing:
        raise UserError(f"{merged} lacks {min(missing)}; merge again")
    return hashes


def without_dtype(path: Path) -> dict[str, Any]:
    """A model's config but for the dtype, which may be stated under two names."""
    return {key: value for key, value in read_json(path).items() if key not in ("dtype", "torch_dtype")}


def fixed_chats() -> dict[str, list[dict[str, str]]]:
    """Chats of two languages, with and without system prompt, one and several turns; all end in a counsellor's turn."""
    chats = {}
    for language, turns in TURNS.items():
        dialogue = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(turns)]
        for name, head in (("system", [{"role": "system", "content": SYSTEM[language]}]), ("no system", [])):
            chats[f"{language}, {name}, one turn"] = head + dialogue[:2]
            chats[f"{language}, {name}, two turns"] = head + dialogue
    return chats


def digest(ids: Sequence[int]) -> str:
    """SHA-256 of token ids, written in decimal with spaces between."""
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()


def prove_prompts(
    merged: Path, chats: Mapping[str, list[dict[str, str]]], model: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Compare the token ids of ms-swift's template, of transformers' and of mindtune.chat; return counts and hashes.

    A chat is a whole dialogue; its prompt is all but the last turn. A difference is a UserError that shows where they part.
    """
    from transformers import AutoTokenizer

    trainer = training_template(merged, model)
    tokenizer, chat = AutoTokenizer.from_pretrained(merged), load_chat(merged)
    rows = []
    for name, messages in chats.items():
        row: dict[str, Any] = {"chat": name}
        for kind, mode, part in (("prompt", "transformers", messages[:-1]), ("dialogue", "train", messages)):
            trainer.set_mode(mode)
            trained = list(trainer.encode({"messages": [dict(message) for message in part]})["input_ids"])
            ask = kind == "prompt"
            text = tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=ask)
            for reader, served in (
                ("the chat template", tokenizer(text, add_special_tokens=False)["input_ids"]),
                ("mindtune.chat", chat.encode([chat.render(part, ask)])[0]),
            ):
                if trained != served:
                    raise UserError(f"{name}, {kind}: {describe_difference(tokenizer, trained, served, reader)}")
            row[kind] = {"tokens": len(trained), "sha256": digest(trained)}
        rows.append(row)
    return rows


def describe_difference(tokenizer: Any, trained: Sequence[int], served: Sequence[int], reader: str) -> str:
    """Where two renderings part, with a little text around."""
    place = next(
        (i for i, (a, b) in enumerate(zip(trained, served, strict=False)) if a != b), min(len(trained), len(served))
    )
    left, right = (tokenizer.decode(ids[max(0, place - 8) : place + 8]) for ids in (trained, served))
    return (
        f"ms-swift's template gives {len(trained)} tokens and {reader} {len(served)}; they part at token {place} "
        f"({left!r} and {right!r}); choose the template in model.template that belongs to this model"
    )


def first_dialogues(path: Path, count: int) -> dict[str, list[dict[str, str]]]:
    """{id: messages} of the first dialogues of a clean file, at most `count`; an empty file is a UserError."""
    chosen = {str(row["id"]): to_messages(row["conversations"]) for row in islice(read_jsonl(path), count)}
    if not chosen:
        raise UserError(f"{path} has no dialogue to compare the models on; give a clean file with at least one")
    return chosen


def model_logits(
    folder: Path, adapter: Path | None, prompts: Iterable[Any], settings: Mapping[str, Any]
) -> Iterator[Any]:
    """Yield logits [tokens, vocabulary] in fp32 on the CPU for each prompt, of a model folder or of base + unmerged adapter."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, settings["logits_dtype"]))
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    device = "cuda" if settings["device"] == "gpu" else "cpu"
    model = model.to(device).eval()
    for ids in prompts:
        with torch.inference_mode():
            logits = model(input_ids=ids.to(device)).logits[0].float().cpu()
        yield logits


def prove_logits(
    base: Path, adapter: Path, merged: Path, chats: Iterable[Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Compare base + adapter with merged at every position of the dialogues' first tokens; facts, or a UserError.

    One model is in memory at a time; the logits of the first wait on the disk.
    """
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged)
    texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"][: settings["max_prompt_tokens"]] for text in texts]
    prompts = [torch.tensor([row]) for row in ids]
    trained = (adapter, None) if is_full(adapter) else (base, adapter)
    rows = []
    with TemporaryDirectory() as waiting:
        for number, logits in enumerate(model_logits(*trained, prompts, settings)):
            torch.save(logits, f"{waiting}/{number}.pt")
        for number, logits in enumerate(model_logits(merged, None, prompts, settings)):
            rows.append(compare_logits(torch.load(f"{waiting}/{number}.pt"), logits))
    positions = sum(row["positions"] for row in rows)
    facts = {
        "dtype": settings["logits_dtype"],
        "prompts": len(prompts),
        "positions": positions,
        # maxima by torch, whose NaN does not get lost
        "max_difference": torch.tensor([row["difference"] for row in rows]).max().item(),
        "max_difference_in_deviations": torch.tensor([row["deviations"] for row in rows]).max().item(),
        "argmax_agreement": sum(row["agree"] for row in rows) / positions,
        "largest_margin_swapped": max(row["swapped"] for row in rows),
    }
    check_bounds(facts, settings)
    return facts


def compare_logits(one: Any, two: Any) -> dict[str, Any]:
    """Compare two models' logits [tokens, vocabulary]: the largest difference, as it is and in deviations of `one`, the positions
    whose first token is the same, and the largest margin by which `one` preferred a token that `two` did not choose."""
    distance = (one - two).abs().amax(-1)
    same = one.argmax(-1) == two.argmax(-1)
    top = one.topk(2, -1).values
    return {
        "positions": len(one),
        "difference": distance.max().item(),
        "deviations": (distance / one.std(-1)).max().item(),
        "agree": int(same.sum()),
        "swapped": max((top[:, 0] - top[:, 1])[~same].tolist(), default=0.0),
    }


def check_bounds(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Logits outside the bounds are a UserError that says by how much."""
    found = facts["max_difference_in_deviations"]
    # written so that NaN fails too
    if not found <= settings["max_logit_difference"]:
        raise UserError(
            f"the merged model's logits are up to {found:.3g} standard deviations from base + adapter, max_logit_difference is "
            f"{settings['max_logit_difference']}; the tensors are right, so look at config.json and at the library versions"
        )
    if not facts["argmax_agreement"] >= settings["min_argmax_agreement"]:
        raise UserError(
            f"base + adapter and the merged model choose the same token at {facts['argmax_agreement']:.4f} of {facts['positions']} "
            f"positions, min_argmax_agreement is {settings['min_argmax_agreement']} (swapped tokens were up to "
            f"{facts['largest_margin_swapped']:.3g} apart); merge into a wider dtype, or lower the bound if these are near-ties"
        )


def verify(args: argparse.Namespace) -> dict[str, Any]:
    """All three proofs; return the facts, first of all the hashes of what was proven."""
    dialogues = first_dialogues(args.prompts, args.settings["n_prompts"])
    folders = {"base": args.base, "adapter": args.adapter, "merged": args.merged}
    facts: dict[str, Any] = {"hashes": {name: sha256_listing(sha256_files(folder)) for name, folder in folders.items()}}
    check_inputs(inputs_of(args, facts["hashes"]), args.made_by)
    check_trained(args.adapter, args.made_by)
    facts["tensors"] = prove_tensors(args.base, args.adapter, args.merged)
    facts["files"] = prove_side_files(args.base, args.merged)
    fixed = fixed_chats()
    rows = prove_prompts(
        args.merged, fixed | {f"dialogue {name}": chat for name, chat in dialogues.items()}, args.model
    )
    facts["prompts"] = [row | ({"messages": fixed[row["chat"]][:-1]} if row["chat"] in fixed else {}) for row in rows]
    facts["logits"] = prove_logits(args.base, args.adapter, args.merged, dialogues.values(), args.settings)
    return facts


def inputs_of(args: argparse.Namespace, hashes: Mapping[str, str]) -> dict[str, str]:
    """{path: SHA-256} of what was proven, for the record, given the folders' hashes."""
    inputs = {getattr(args, name).as_posix(): digest for name, digest in hashes.items()}
    return inputs | {args.prompts.as_posix(): sha256_file(args.prompts)}


def prepare_torch(threads: int, device: str) -> None:
    """Set the number of threads; a GPU that is asked for and not there is a UserError."""
    import torch

    torch.set_num_threads(threads)
    if device == "gpu" and not torch.cuda.is_available():
        raise UserError(
            "verify.device is gpu, but torch finds no CUDA device on this node; set it to cpu, or run on a GPU node"
        )


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, type=Path, help="base model folder")
    parser.add_argument("--adapter", required=True, type=Path, help="adapter folder")
    parser.add_argument("--merged", required=True, type=Path, help="merged model folder")
    add_made_by(parser)
    parser.add_argument("--prompts", required=True, type=Path, help="clean dialogues (JSONL)")
    parser.add_argument(
        "--model", required=True, type=json.loads, help='JSON: {"type", "template"} as ms-swift calls them'
    )
    parser.add_argument(
        "--settings",
        required=True,
        type=json.loads,
        help='JSON: {"n_prompts", "max_prompt_tokens", "logits_dtype", "device", "max_logit_difference", "min_argmax_agreement"}',
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="threads for the logits; facts may change in their last digits"
    )
    parser.add_argument("--verify", required=True, type=Path, help="verify.json to write")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    args.verify.unlink(missing_ok=True)
    prepare_torch(args.threads, args.settings["device"])
    facts = verify(args)
    write_hashed_record(
        args.verify,
        "verify_merge",
        inputs=inputs_of(args, facts["hashes"]),
        outputs={},
        params={"model": args.model, **args.settings},
        facts=facts,
        packages=["ms-swift", "peft", "safetensors", "tokenizers", "torch", "transformers"],
    )
    tensors, logits = facts["tensors"], facts["logits"]
    print(
        f"{tensors['changed']['exact']} merged and {tensors['other']['equal']} other tensors are exact; logits within "
        f"{logits['max_difference_in_deviations']:.3g} deviations, first token the same at {logits['argmax_agreement']:.4f} of "
        f"{logits['positions']} positions; {len(facts['prompts'])} prompts read alike"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
