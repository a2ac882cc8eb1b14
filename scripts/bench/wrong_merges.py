"""Merges in memory, right ones and wrong ones: what the proof of the logits is measured on,
without writing a model for each.

A model is held in float32 with a copy of its weights as they are stored; every merge starts from
that copy.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter in memory: {module: (A, B)} and the scale of B @ A."""

    pairs: Mapping[str, tuple[Any, Any]]
    scale: float


@dataclass
class Merging:
    """A model that takes one merge after another."""

    model: Any
    stored: Any
    weights: dict[str, Any] = field(init=False)
    linear: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.weights = {
            name: value.detach().to(self.stored) for name, value in self.model.named_parameters()
        }
        self.linear = {
            name: part
            for name, part in self.model.named_modules()
            if name.split(".")[-1] in TARGETS
        }

    def exact(self, name: str, adapter: Adapter) -> Any:
        """A weight of the merged model in float32, not rounded: W + scale * (B @ A), as the merge
        computes it.
        """
        pair = adapter.pairs.get(name.removesuffix(".weight"))
        total = self.weights[name].float()
        return (
            total
            if pair is None
            else (pair[1].float() @ pair[0].float()).mul_(adapter.scale).add_(total)
        )

    def load(self, adapter: Adapter, rounded: Callable[[Any], Any]) -> None:
        """Give the model the merged weights, rounded."""
        import torch

        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(rounded(self.exact(name, adapter)))

    @contextmanager
    def unmerged(self, adapter: Adapter) -> Iterator[None]:
        """The base with the adapter beside it, as in training: y = W x + scale * B (A x)."""
        self.load(Adapter({}, 0.0), lambda weight: weight)

        def hook(module: Any, words: tuple[Any, ...], out: Any) -> Any:
            a, b = adapter.pairs[names[module]]
            return out + (words[0] @ a.float().T @ b.float().T) * adapter.scale

        names = {self.linear[name]: name for name in adapter.pairs}
        with ExitStack() as stack:
            for module in names:
                stack.callback(module.register_forward_hook(hook).remove)
            yield


def layer_of(module: str) -> int:
    """The number of the layer that a module belongs to."""
    return next(int(part) for part in module.split(".") if part.isdigit())


def wrong_adapters(right: Adapter, other: Adapter) -> dict[str, Adapter]:
    """What a merge could have added instead of `right`; `other` is the adapter of another
    training.
    """
    last = max(map(layer_of, right.pairs))

    def without(left_out: Callable[[str], bool]) -> Adapter:
        return replace(
            right, pairs={name: pair for name, pair in right.pairs.items() if not left_out(name)}
        )

    def exchanged(name: str) -> str:
        """The same module of the last layer for the first one's, and the other way round."""
        layer = {0: last, last: 0}.get(layer_of(name), layer_of(name))
        return name.replace(f".{layer_of(name)}.", f".{layer}.")

    return {
        "adapter missing": Adapter({}, 0.0),
        "down_proj's adapter missing in all layers": without(
            lambda name: name.endswith("down_proj")
        ),
        "v_proj's adapter missing in all layers": without(lambda name: name.endswith("v_proj")),
        "v_proj's adapter missing in the first layer": without(
            lambda name: name.endswith("v_proj") and not layer_of(name)
        ),
        "alpha doubled": replace(right, scale=right.scale * 2),
        "alpha halved": replace(right, scale=right.scale / 2),
        "alpha negated": replace(right, scale=-right.scale),
        "first and last layer's adapters exchanged": replace(
            right, pairs={name: right.pairs[exchanged(name)] for name in right.pairs}
        ),
        "a quarter of the layers from another training": replace(
            right,
            pairs={
                name: (other.pairs[name] if layer_of(name) <= last // 4 else pair)
                for name, pair in right.pairs.items()
            },
        ),
    }


def truncated(weight: Any) -> Any:
    """bfloat16 by cutting the bits off, not by rounding to the nearest."""
    import torch

    return weight.contiguous().view(torch.int32).bitwise_and(-(2**16)).view(torch.float32)


def noisy(merging: Merging, share: float) -> None:
    """Move every linear weight by noise of `share` of the tensor's own spread, as another revision
    of the base would.
    """
    import torch

    torch.manual_seed(1)
    for module in merging.linear.values():
        module.weight.add_(
            torch.randn_like(module.weight), alpha=share * module.weight.std().item()
        )


def transposed(merging: Merging) -> None:
    """Transpose the first layer's square weight."""
    square = next(
        part for part in merging.linear.values() if part.weight.shape[0] == part.weight.shape[1]
    )
    square.weight.copy_(square.weight.T.clone())


def other_end(merging: Merging) -> None:
    """Give the end token the row of another token in the head."""
    end = merging.model.config.eos_token_id
    head = merging.model.lm_head.weight
    head[end if isinstance(end, int) else end[0]] = head[10]


def wrong_weights() -> dict[str, Callable[[Merging], None]]:
    """Changes of the merged weights themselves."""
    return {
        "another revision of the base (noise of 1 %)": lambda merging: noisy(merging, 0.01),
        "another revision of the base (noise of 10 %)": lambda merging: noisy(merging, 0.1),
        "the first layer's q_proj transposed": transposed,
        "the end token's row of the head is another's": other_end,
    }


def without_biases(merging: Merging) -> None:
    """Load as Llama what is a Qwen2: it has no biases."""
    for module in merging.linear.values():
        if module.bias is not None:
            module.bias.zero_()


@contextmanager
def other_rope(merging: Merging) -> Iterator[None]:
    """Positions turn with a base of 10,000 and not with the model's own."""
    import math

    rotary = merging.model.model.rotary_emb
    before = rotary.inv_freq
    # inv_freq is theta ** -k, so its power log(10000) / log(theta) is 10000 ** -k
    theta = float(1 / before[-1].double() ** (len(before) / (len(before) - 1)))
    rotary.inv_freq = before.double().pow(math.log(10_000) / math.log(theta)).to(before.dtype)
    yield
    rotary.inv_freq = before


@contextmanager
def other_epsilon(merging: Merging, factor: float) -> Iterator[None]:
    """rms_norm_eps is `factor` times the model's own."""
    norms = [part for part in merging.model.modules() if hasattr(part, "variance_epsilon")]
    before = [norm.variance_epsilon for norm in norms]
    for norm in norms:
        norm.variance_epsilon *= factor
    yield
    for norm, epsilon in zip(norms, before, strict=True):
        norm.variance_epsilon = epsilon


@contextmanager
def other_tie(merging: Merging) -> Iterator[None]:
    """tie_word_embeddings flipped: the embedding in the head's place, or a head that nobody
    trained in the embedding's.
    """
    import torch

    head, embedding = merging.model.lm_head, merging.model.model.embed_tokens
    before = head.weight
    tied = before is embedding.weight
    head.weight = torch.nn.Parameter(torch.randn_like(before) * 0.02) if tied else embedding.weight
    yield
    head.weight = before


@contextmanager
def after(change: Callable[[Merging], None], merging: Merging) -> Iterator[None]:
    """A change of the weights; the next merge takes it away."""
    change(merging)
    yield


def wrong_configs(model: Any) -> dict[str, Callable[[Merging], Any]]:
    """Equal tensors that a wrong config loads as another function."""
    biases = any(
        name.endswith("q_proj.bias") and bool(value.any())
        for name, value in model.named_parameters()
    )
    return {
        "rope_theta is 10,000": other_rope,
        "rms_norm_eps 10 times as large": lambda merging: other_epsilon(merging, 10),
        "rms_norm_eps 1,000 times as large": lambda merging: other_epsilon(merging, 1000),
        "tie_word_embeddings flipped": other_tie,
        **(
            {"loaded as Llama, without biases": lambda merging: after(without_biases, merging)}
            if biases
            else {}
        ),
    }
