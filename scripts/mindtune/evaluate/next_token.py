"""The scores of all next tokens after a text, from the model itself: transformers on a CPU,
LMDeploy's pipeline on a GPU, behind one function.

Never over HTTP: LMDeploy's server takes `echo` and `logprobs` of /v1/completions and leaves them
unread, and a server that does so gives exactly chance, without a word.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mindtune.safe_loading import check_folder, load_model

# Token ids of texts -> for each the scores of every token of the vocabulary as the next one, (V,)
NextToken = Callable[[Sequence[Sequence[int]]], list[Any]]
# Texts to give it at once: LMDeploy holds the logits of every token of each, 4 bytes a word of the
# vocabulary, so 16 texts of 500 tokens of Qwen2.5 take 5 GB of the card
AT_ONCE = 16


@contextmanager
def next_token(folder: Path, engine: Mapping[str, Any]) -> Iterator[NextToken]:
    """The function for a model folder, by the device that the engine's settings name."""
    if engine["engine"] == "lmdeploy":
        with lmdeploy_scores(folder, engine) as found:
            yield found
    else:
        yield transformers_scores(folder, engine)


def transformers_scores(folder: Path, engine: Mapping[str, Any]) -> NextToken:
    """The arithmetic of the server of engine transformers: float32 on a CPU."""
    import torch

    torch.set_num_threads(engine["threads"])
    dtype, device = (torch.float32, "cpu") if engine["device"] == "cpu" else ("auto", "cuda")
    model = load_model(folder, dtype).to(device).eval()

    def of_one(ids: Sequence[int]) -> Any:
        with torch.inference_mode():
            out = model(input_ids=torch.tensor([list(ids)], device=device), logits_to_keep=1)
        return out.logits[0, -1].float().cpu()

    return lambda texts: list(map(of_one, texts))


@contextmanager
def lmdeploy_scores(folder: Path, engine: Mapping[str, Any]) -> Iterator[NextToken]:
    """LMDeploy's pipeline, which gives the logits of a whole text; of LMDeploy 0.18.

    Its public functions lead there no more: with its PyTorch engine a call of the pipeline leaves
    the logits out unless nothing is generated, and refuses to generate nothing.
    """
    from lmdeploy import PytorchEngineConfig, TurbomindEngineConfig, pipeline

    check_folder(folder)
    kind = PytorchEngineConfig if engine["backend"] == "pytorch" else TurbomindEngineConfig
    settings = kind(
        tp=engine["tp"],
        session_len=engine["session_len"],
        cache_max_entry_count=engine["cache_max_entry_count"],
    )
    with pipeline(str(folder), backend_config=settings, trust_remote_code=False) as pipe:

        def scores(texts: Sequence[Sequence[int]]) -> list[Any]:
            asked = pipe.async_engine.async_get_logits(input_ids=[list(ids) for ids in texts])
            return [logits[-1].float().cpu() for logits in pipe._run(coro=asked).result()]

        yield scores
