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


def reference(
    model: Any,
    tokenizer: Any,
    template: ChatTemplate,
    chat: list[dict[str, str]],
    max_tokens: int,
    ends: list[int],
) -> dict[str, Any]:
    """The greedy reply to one chat, by transformers' own `generate`."""
    from transformers import GenerationConfig

    text = template.render(chat, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)
    # nothing but the end tokens is taken from the model's own settings, which also sample and
    # punish repetition
    plain = GenerationConfig(
        do_sample=False, max_new_tokens=max_tokens, eos_token_id=ends, pad_token_id=ends[0],
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    out = model.generate(**prompt, generation_config=plain)
    ids = out.sequences[0, prompt["input_ids"].shape[1] :].tolist()
    margins = []
    for logits in out.logits:
        top = logits[0].float().topk(2).values
        margins.append(((top[0] - top[1]) / logits[0].float().std()).item())
    ended = ids[-1] in ends
    kept = ids[:-1] if ended else ids
    decode = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    texts = [tokenizer.decode(kept[:count], **decode) for count in range(len(kept) + 1)]
    begun = prompt["input_ids"][0].tolist()
    resumes = [
        count
        for count in range(1, len(texts))
        if not texts[count].endswith("\ufffd")
        and tokenizer(text + texts[count], add_special_tokens=False)["input_ids"]
        == begun + kept[:count]
    ]
    finish = "stop" if ended else "length"
    return {"texts": texts, "margins": margins, "resumes": resumes, "finish_reason": finish}


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
        replies = [
            reference(model, tokenizer, template, chat, args.max_tokens, ends)
            for chat in json.load(sys.stdin)
        ]
    print(json.dumps(replies))


if __name__ == "__main__":
    raise SystemExit(run(main))
