"""Greedy replies of plain transformers, with the margin by which each token won: what a server's
replies are compared with.

Run with the interpreter of the environment that serves, before the server starts: both need the
card.

Reads   a model folder, and on standard input JSON: a list of chats
Writes  to standard output JSON: for each chat {"texts", "margins", "resumes", "finish_reason"};
        texts[k] is the reply's first k tokens as text, margins[k] is how far the best logit of
        token k was above the second, in standard deviations of its position's logits, and resumes
        are the k whose text gives the same tokens again, so that a server can go on from it
"""

import json
import sys
from pathlib import Path
from typing import Any

# last on the path: our programs have names that a library's module may have
sys.path.append(str(Path(__file__).resolve().parents[2]))

from mindtune.chat_template import ChatTemplate, load_chat_template
from mindtune.cli import argument_parser, run
from mindtune.safe_loading import end_tokens, load_model, load_tokenizer


def references(
    model: Any,
    tokenizer: Any,
    template: ChatTemplate,
    chats: list[list[dict[str, str]]],
    max_tokens: int,
    ends: list[int],
) -> list[dict[str, Any]]:
    """The greedy replies to all chats in one batch, by transformers' own `generate`.

    Prompts are filled up on the left and masked there, so each is read as if it were alone but for
    rounding, and a step costs the card as much as one of a single prompt.
    """
    import torch
    from transformers import GenerationConfig

    texts = [template.render(chat, add_generation_prompt=True) for chat in chats]
    prompts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    longest = max(map(len, prompts))
    filled = [[ends[0]] * (longest - len(ids)) + ids for ids in prompts]
    mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]
    # nothing but the end tokens is taken from the model's own settings, which also sample and
    # punish repetition
    plain = GenerationConfig(
        do_sample=False, max_new_tokens=max_tokens, eos_token_id=ends, pad_token_id=ends[0],
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    out = model.generate(
        input_ids=torch.tensor(filled, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        generation_config=plain,
    )
    replies = out.sequences[:, longest:].tolist()
    return [
        followable(tokenizer, text, begun, ids, [margin(step[row]) for step in out.logits], ends)
        for row, (text, begun, ids) in enumerate(zip(texts, prompts, replies, strict=True))
    ]


def margin(logits: Any) -> float:
    """How far the best logit is above the second, in standard deviations of all."""
    top = logits.float().topk(2).values
    return ((top[0] - top[1]) / logits.float().std()).item()


def followable(
    tokenizer: Any,
    text: str,
    begun: list[int],
    reply: list[int],
    margins: list[float],
    ends: list[int],
) -> dict[str, Any]:
    """What a server is compared with: the reply to the prompt `text`, whose tokens are `begun`, as
    far as its first end token. What follows that waits for longer replies of the batch.
    """
    stop = next((place for place, token in enumerate(reply) if token in ends), None)
    kept = reply[:stop]
    decode = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    texts = [tokenizer.decode(kept[:count], **decode) for count in range(len(kept) + 1)]
    resumes = [
        count
        for count in range(1, len(texts))
        if not texts[count].endswith("\ufffd")
        and tokenizer(text + texts[count], add_special_tokens=False)["input_ids"]
        == begun + kept[:count]
    ]
    return {
        "texts": texts,
        "margins": margins[: len(kept) + (stop is not None)],
        "resumes": resumes,
        "finish_reason": "length" if stop is None else "stop",
    }


def main() -> None:
    import torch
    from transformers import GenerationConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--max-tokens", required=True, type=int)
    parser.add_argument("--device", required=True, choices=("cpu", "gpu"))
    parser.add_argument("--threads", required=True, type=int)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer, template = load_tokenizer(args.model), load_chat_template(args.model)
    # the arithmetic of the server: fp32 on a CPU, as transformers_server.py; the model's own on a
    # card
    dtype, device = (torch.float32, "cpu") if args.device == "cpu" else ("auto", "cuda")
    model = load_model(args.model, dtype).to(device).eval()
    ends = end_tokens(args.model, tokenizer)
    model.generation_config = GenerationConfig()
    with torch.inference_mode():
        chats = json.load(sys.stdin)
        replies = references(model, tokenizer, template, chats, args.max_tokens, ends)
    print(json.dumps(replies))


if __name__ == "__main__":
    raise SystemExit(run(main))
