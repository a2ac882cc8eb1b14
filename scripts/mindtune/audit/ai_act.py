"""The share that a fine-tuning has of its base model's training compute, and what the EU's
guidelines make of it. Not legal advice.

FLOP by the usual counts: 2 N a token for the forward pass, 2 N for the gradients of activations,
2 N for those of weights, which adapters do not need, and 2 N more where activations are computed
again (gradient checkpointing). N is the number of weights of the base. A base's own training is
6 N D (Kaplan et al. 2020, arXiv:2001.08361) with D tokens as its makers published them.
"""

from collections.abc import Mapping
from typing import Any

# Commission guidelines on general-purpose AI models of July 2025: whoever modifies a model with
# more than this share of its original training compute is a provider of a model of their own
THRESHOLD = 1 / 3
# Tokens of the base's training, by the beginning of its name, and who says so
PUBLISHED = {
    "Qwen/Qwen2.5-": (18e12, "Qwen2.5 Technical Report, arXiv:2412.15115"),
    "qwen/Qwen2.5-": (18e12, "Qwen2.5 Technical Report, arXiv:2412.15115"),
}


def flop_per_weight(params: Mapping[str, Any]) -> int:
    """FLOP a token and weight of a training, by its settings."""
    weights = 2 if params["method"] == "full" else 0
    again = 2 if params["gradient_checkpointing"] else 0
    return 4 + weights + again


def compute_share(
    model: Mapping[str, Any], train: Mapping[str, Any], parameters: int | None
) -> dict[str, Any]:
    """What is known of the compute: `model` is the configuration's, `train` the record of
    train_lora. What is not known is None.
    """
    name = str(model.get("id") or "")
    tokens, source = next(
        (found for start, found in PUBLISHED.items() if name.startswith(start)), (None, None)
    )
    factor = flop_per_weight(train["params"])
    own = factor * parameters * train["facts"]["tokens"] if parameters else None
    base = 6 * parameters * tokens if parameters and tokens else None
    share = own / base if own and base else None
    return {
        "base": name or None,
        "parameters": parameters,
        "flop_per_weight_and_token": factor,
        "tokens_trained": train["facts"]["tokens"],
        "flop_of_the_tuning": own,
        "tokens_of_the_base": tokens,
        "tokens_of_the_base_source": source,
        "flop_of_the_base": base,
        "share": share,
        "threshold": THRESHOLD,
        "above_threshold": None if share is None else share > THRESHOLD,
    }


def ai_act_note(found: Mapping[str, Any]) -> str:
    """The compute as Markdown, with what follows from it and what does not."""
    if found["share"] is None:
        said = (
            "The share of the base's training compute is unknown: nothing here says "
            + ("how many weights the base has." if not found["parameters"] else
               f"on how many tokens {found['base'] or 'the local base'} was trained.")
        )  # fmt: skip
    else:
        relation = "above" if found["above_threshold"] else "below"
        said = (
            f"The tuning took {found['flop_of_the_tuning']:.2g} FLOP "
            f"({found['flop_per_weight_and_token']} x {found['parameters']:,} weights x "
            f"{found['tokens_trained']:,} tokens). The base took about "
            f"{found['flop_of_the_base']:.2g} FLOP (6 x weights x "
            f"{found['tokens_of_the_base']:.3g} tokens; {found['tokens_of_the_base_source']}). "
            f"The share is {found['share']:.2g}, {relation} the third at which, by the "
            f"Commission's guidelines of July 2025, whoever modifies a general-purpose model "
            f"becomes the provider of one."
        )
    return (
        f"# Note on the EU AI Act\n\n{said}\n\nRecital 109 limits the duties of a modifier to "
        "the change: the new training data and its documentation (DATASHEET.md, the model card).\n"
        "\nThis note is about the model alone. A clinical purpose, or advice to people in distress,"
        "\nis another matter (medical devices, high-risk systems) and is not judged here. It is no "
        "legal\nadvice.\n"
    )
