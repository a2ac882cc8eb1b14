"""Second proof of a merge: base + adapter and the merged folder, as transformers loads it, give
the same logits.

Twice: with the adapter beside the base, as in training, where rounding the merged weights makes a
difference; and with the adapter merged by peft and rounded in memory, where nothing but a folder
that loads as another function does. docs/proof.md has the theory of the bounds and what was
measured: which wrong merges they see, and which they do not.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mindtune.chat_template import ChatTokenizer, load_chat
from mindtune.cli import UserError
from mindtune.safe_loading import load_adapter, load_model
from mindtune.tensors import is_full, read_model


def load_for(folder: Path, adapter: Path | None, settings: Mapping[str, Any]) -> Any:
    """A model folder, or base + unmerged adapter, on the device."""
    import torch

    model = load_model(folder, getattr(torch, settings["logits_dtype"]))
    if adapter:
        model = load_adapter(model, adapter)
    return model.to("cuda" if settings["device"] == "gpu" else "cpu").eval()


def logits_of(model: Any, prompts: Iterable[Any]) -> Iterator[Any]:
    """Logits [tokens, vocabulary] of each prompt, in fp32 on the model's device."""
    import torch

    for ids in prompts:
        with torch.inference_mode():
            yield model(input_ids=ids.to(model.device)).logits[0].float()


def rounded(model: Any, dtype: str) -> Any:
    """The model with its adapter merged by peft, if it has one, and every weight rounded to the
    dtype of the merged folder.
    """
    import torch

    model = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(getattr(torch, dtype)))
    return model


def prompt_ids(reader: ChatTokenizer, chats: Iterable[Any], longest: int) -> list[Any]:
    """The first tokens of each dialogue as a batch of one."""
    import torch

    return [
        torch.tensor([ids[:longest]])
        for ids in reader.encode([reader.render(chat) for chat in chats])
    ]


def prove_logits(
    base: Path, adapter: Path, merged: Path, chats: Iterable[Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Compare base + adapter with merged at every position of the dialogues' first tokens; facts,
    or a UserError.

    One model is in memory at a time; the logits of the first wait on the disk.
    """
    import torch

    prompts = prompt_ids(load_chat(merged), chats, settings["max_prompt_tokens"])
    with TemporaryDirectory() as waiting:

        def keep(name: str, model: Any) -> None:
            for number, logits in enumerate(logits_of(model, prompts)):
                torch.save(logits.cpu(), f"{waiting}/{name}-{number}.pt")

        model = load_for(*((adapter, None) if is_full(adapter) else (base, adapter)), settings)
        keep("trained", model)
        # in bfloat16 peft's own merge is rounded twice, so there is nothing to compare with bit
        # for bit
        names = ["trained", "loaded"] if settings["logits_dtype"] == "float32" else ["trained"]
        if "loaded" in names:
            keep("loaded", rounded(model, next(iter(read_model(merged).values())).dtype))
        del model
        rows: dict[str, list[Any]] = {name: [] for name in names}
        for number, logits in enumerate(logits_of(load_for(merged, None, settings), prompts)):
            for name in names:
                rows[name].append(
                    compare_logits(torch.load(f"{waiting}/{name}-{number}.pt"), logits.cpu())
                )
    found = {name: summarise(part, settings) for name, part in rows.items()}
    facts = {"dtype": settings["logits_dtype"], "prompts": len(prompts), **found["trained"]}
    if "loaded" in found:
        facts["max_loaded_rms_in_deviations"] = found["loaded"]["max_rms_in_deviations"]
    check_bounds(facts, settings)
    return facts


def compare_logits(one: Any, two: Any) -> dict[str, Any]:
    """Compare two models' logits [tokens, vocabulary], position by position; all but `difference`
    in deviations of `one`'s logits.

    `rms` is the root mean square of the difference over the vocabulary, `largest` its largest
    value, `margin` how much `one` prefers its first token to the second, and `same` whether `two`
    chooses it too.
    """
    distance, spread = (one - two).abs(), one.std(-1)
    first, second = one.topk(2, -1).values.unbind(-1)
    return {
        "difference": distance.amax(-1),
        "rms": distance.square().mean(-1).sqrt() / spread,
        "largest": distance.amax(-1) / spread,
        "margin": (first - second) / spread,
        "same": one.argmax(-1) == two.argmax(-1),
    }


def summarise(rows: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of the positions of all prompts. Maxima are torch's, whose NaN does not get lost."""
    import torch

    rows = list(rows)
    part = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    swapped = part["margin"][~part["same"]]
    return {
        "positions": len(part["same"]),
        "max_rms_in_deviations": part["rms"].max().item(),
        "max_difference": part["difference"].max().item(),
        "max_difference_in_deviations": part["largest"].max().item(),
        "argmax_agreement": part["same"].float().mean().item(),
        "decisive_positions": int((part["margin"] > settings["max_swapped_margin"]).sum()),
        "max_swapped_margin_in_deviations": swapped.max().item() if len(swapped) else 0.0,
    }


def check_bounds(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Logits outside the bounds are a UserError that says by how much."""
    for key, fact, what in (
        (
            "max_logit_rms",
            "max_rms_in_deviations",
            "differ from base + adapter by a root mean square of",
        ),
        (
            "max_logit_difference",
            "max_difference_in_deviations",
            "have one that differs from base + adapter by",
        ),
        (
            "max_swapped_margin",
            "max_swapped_margin_in_deviations",
            "choose another token where base + adapter prefers its own by",
        ),
        (
            "max_loaded_rms",
            "max_loaded_rms_in_deviations",
            "differ from the same weights loaded as the base by a root mean square of",
        ),
    ):
        found = facts.get(fact, 0.0)
        # written so that NaN fails too
        if not found <= settings[key]:
            raise UserError(
                f"the merged model's logits {what} {found:.3g} standard deviations of a position's "
                f"logits, verify.{key} allows "
                f"{settings[key]}; the tensors are right, so look at config.json and at the "
                f"library versions (docs/proof.md)"
            )
