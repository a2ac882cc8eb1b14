"""The demo's toy: a two-layer Qwen2 that is taught the training split for some seconds."""

from pathlib import Path
from typing import Any

from mindtune.records import read_jsonl

# Qwen2.5-7B's values where they fix structure (rope, norm, special ids, untied embeddings); its
# sizes divided
TINY = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "rope_theta": 1_000_000.0,
}


SEED = 42


STEPS = 300  # about 40 s of one core: enough for sentences, far from enough for sense


def tiny_config(**sizes: int) -> Any:
    """The toy's Qwen2Config; `sizes` replace single values."""
    from transformers import Qwen2Config

    config = Qwen2Config(
        **{**TINY, **sizes}, use_sliding_window=False, architectures=["Qwen2ForCausalLM"]
    )
    config.dtype = "bfloat16"
    return config


def training_tokens(tokenizer: Any, dialogues: Path) -> list[int]:
    """Token ids of all dialogues in one stream, rendered by the chat template."""
    roles = {"system": "system", "human": "user", "gpt": "assistant"}
    stream: list[int] = []
    for row in read_jsonl(dialogues):
        messages = [
            {"role": roles[turn["from"]], "content": turn["value"]} for turn in row["conversations"]
        ]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        stream += tokenizer(text, add_special_tokens=False)["input_ids"]
    return stream


def teach(stream: list[int]) -> tuple[Any, list[int], float]:
    """Train the toy in fp32 on one thread; return (compact model, token id of each of its rows,
    last loss).

    Only the K tokens that occur get a row of their own. One more row stands for all other tokens
    of the vocabulary and enters the softmax with the weight of their number, so that the loss is
    exactly the full vocabulary's while a step costs K rows.
    """
    import torch
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    used = sorted(set(stream))
    row_of = {token: row for row, token in enumerate(used)}
    data = torch.tensor([row_of[token] for token in stream])
    model = Qwen2ForCausalLM(
        tiny_config(vocab_size=len(used) + 1, bos_token_id=0, eos_token_id=0)
    ).float()
    weight = torch.zeros(len(used) + 1)
    weight[-1] = torch.log(torch.tensor(float(TINY["vocab_size"] - len(used))))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-3, total_steps=STEPS, pct_start=0.1
    )
    length, batch = min(128, len(data) - 1), 16
    draw = torch.Generator().manual_seed(SEED)
    for _ in range(STEPS):
        starts = torch.randint(0, len(data) - length, (batch,), generator=draw)
        window = torch.stack([data[start : start + length + 1] for start in starts.tolist()])
        logits = model(input_ids=window[:, :-1]).logits + weight
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model, used, loss.item()


def expand(compact: Any, used: list[int]) -> Any:
    """Spread the compact rows over the full vocabulary; the shared row, with a little noise,
    becomes every other token's.
    """
    import torch
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(SEED)
    model = Qwen2ForCausalLM(tiny_config()).float()
    weights = {
        name: value
        for name, value in compact.state_dict().items()
        if "embed_tokens" not in name and "lm_head" not in name
    }
    model.load_state_dict(weights, strict=False)
    with torch.no_grad():
        for full, small in (
            (model.model.embed_tokens, compact.model.embed_tokens),
            (model.lm_head, compact.lm_head),
        ):
            full.weight.copy_(small.weight[-1] + 1e-4 * torch.randn(full.weight.shape))
            full.weight[torch.tensor(used)] = small.weight[:-1]
    return model.to(torch.bfloat16)
