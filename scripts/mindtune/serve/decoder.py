"""Greedy decoding with transformers: one thread, one reply at a time, in the order of the jobs."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mindtune.chat_template import load_chat_template
from mindtune.safe_loading import end_tokens, load_model, load_tokenizer
from mindtune.serve.chat_requests import Refused


@dataclass
class Job:
    """A prompt on its way to the decoding thread. `emit` takes (text, None) for a piece and ("",
    End) at the end.
    """

    prompt: list[int]
    limit: int
    emit: Callable[[str, "End | None"], None]
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class End:
    """How a reply ended (`stop`, `length`, `error`) and its tokens, the end token not counted, as
    LMDeploy counts.
    """

    reason: str
    tokens: int


def settled(text: str) -> str:
    """The part of a decoded text that later tokens cannot change: without the half character that
    it may end in.

    A decoder shows the bytes of an unfinished UTF-8 character as U+FFFD.
    """
    return text.rstrip("\ufffd")


def pieces(
    tokens: Iterator[int], decode: Callable[[list[int]], str], ids: list[int]
) -> Iterator[str]:
    """Yield a reply's text as it grows, whole characters only; joined, the pieces are decode(all
    tokens).

    The tokens are also appended to `ids`.
    """
    sent = 0
    for token in tokens:
        ids.append(token)
        text = settled(decode(ids))
        if len(text) > sent:
            yield text[sent:]
            sent = len(text)
    rest = decode(ids)[sent:]
    if rest:
        yield rest


class Decoder:
    """The model, its tokenizer, and the one thread that uses them."""

    def __init__(self, folder: Path, device: str, threads: int, session_len: int) -> None:
        import torch

        torch.set_num_threads(threads)
        # bf16 is many times slower than fp32 on most CPUs, and fp32 holds every bf16 weight exactly
        dtype = torch.float32 if device == "cpu" else "auto"
        self.tokenizer, self.template = load_tokenizer(folder), load_chat_template(folder)
        model = load_model(folder, dtype)
        self.model = model.to("cuda" if device == "gpu" else "cpu").eval()
        # Only the end tokens are taken: a published generation_config also sets sampling and a
        # repetition penalty
        self.ends = set(end_tokens(folder, self.tokenizer))
        self.session_len = session_len
        # a token stands for at most as many bytes as the longest of them: a longer text is refused
        # before it costs the memory of being tokenized
        self.most_bytes = session_len * max(
            len(name.encode()) for name in self.tokenizer.get_vocab()
        )
        self.generated = 0
        self.stopping = threading.Event()
        self.jobs: queue.Queue[Job | None] = queue.Queue()
        self.thread = threading.Thread(target=self.work, name="decode", daemon=True)
        self.thread.start()

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of the rendered prompt; a prompt that leaves no room for a reply is refused,
        as LMDeploy does.
        """
        size = sum(len(message["content"].encode()) for message in messages)
        if size > self.most_bytes:
            raise self.too_long(f"{size:,} bytes, which are more tokens than the session length")
        try:
            text = self.render(messages)
        except Exception as error:
            raise Refused(400, f"these messages cannot be rendered: {error}") from error
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) >= self.session_len:
            raise self.too_long(f"{len(ids)} tokens and must have fewer than the session length")
        return ids

    def render(self, messages: list[dict[str, str]]) -> str:
        """The prompt's text. A last turn of the assistant is the start of the reply, as for
        LMDeploy.
        """
        begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else None
        text = self.template.render(messages, add_generation_prompt=begun is None)
        return text if begun is None else text[: text.rindex(begun) + len(begun)]

    def too_long(self, size: str) -> Refused:
        """The refusal of a prompt."""
        message = f"the prompt has {size}, {self.session_len}"
        return Refused(400, message, "context_length_exceeded")

    def decode(self, ids: list[int]) -> str:
        """Text of a reply, special tokens left out."""
        return self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def tokens(self, job: Job) -> Iterator[int]:
        """Greedy tokens up to the limit, an end token (not yielded), or a cancel."""
        import torch

        step, past = torch.tensor([job.prompt], device=self.model.device), None
        for _ in range(job.limit):
            if job.cancelled.is_set() or self.stopping.is_set():
                return
            with torch.inference_mode():
                out = self.model(
                    input_ids=step, past_key_values=past, use_cache=True, logits_to_keep=1
                )
                step, past = out.logits[:, -1].argmax(dim=-1, keepdim=True), out.past_key_values
            token = int(step)
            if token in self.ends:
                return
            yield token

    def work(self) -> None:
        """Answer jobs one after the other until the server stops."""
        while (job := self.jobs.get()) is not None:
            ids: list[int] = []
            try:
                for piece in pieces(self.tokens(job), self.decode, ids):
                    job.emit(piece, None)
                self.generated += len(ids)
                job.emit("", End("length" if len(ids) == job.limit else "stop", len(ids)))
            except Exception as error:
                job.emit("", End("error", len(ids)))
                with suppress(OSError):  # a full disk, which must not end the thread
                    print(f"decoding failed: {type(error).__name__}: {error}", flush=True)

    def close(self) -> None:
        """End the thread, in the middle of a reply if need be."""
        self.stopping.set()
        self.jobs.put(None)
        self.thread.join(timeout=5)
