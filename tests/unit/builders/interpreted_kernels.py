"""The GPU's kernels computed by Triton's interpreter on a CPU, which must not be switched on in the
process of other tests. Prints what it found as JSON.

The interpreter of Triton 3.7.1 reads bfloat16 as whole numbers in products, so 16 bits are float16
here.
"""

import copy
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

import torch
from mindtune.train import lora_check
from mindtune.train.lora import speed_up_lora

NAMES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def formulas():
    """The worst difference of each case from the formula in float64."""
    cases = [(widths, 8, 0.1, "float32") for widths in lora_check.LAYERS]
    cases += [((33, 65), 4, 0.0, "float32"), ((144, 80, 96), 64, 0.5, "float32")]
    cases += [((130, 7, 64), 12, 0.1, "float16"), ((48,), 33, 0.0, "float16")]
    return [
        [*case, max(lora_check.differences(*case[:3], getattr(torch, case[3]), "cpu"))]
        for case in cases
    ]


def adapted(dropout, names=NAMES):
    """Two blocks with adapters whose sum is not zero."""
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=300,
            hidden_size=64,
            intermediate_size=176,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    )
    config = LoraConfig(r=8, lora_alpha=32, lora_dropout=dropout, target_modules=names)
    model = get_peft_model(model, config).train()
    for name, part in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(part, std=0.05)
    return model


def trained_once(model, recompute=False):
    """Loss and the adapters' gradients of one batch, always with the same seed."""
    if recompute:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    ids = torch.randint(0, 300, (2, 23), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    model.zero_grad()
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    gradients = {
        name: part.grad.clone() for name, part in model.named_parameters() if part.requires_grad
    }
    return float(loss), gradients


def far(first, second):
    """The largest difference of two trainings' gradients, of their norms."""
    return max(
        float((second[1][name] - part).norm() / part.norm()) for name, part in first[1].items()
    )


def models():
    """Whole models: kernels beside peft's own pass, with and without recompute and dropout."""
    found = {}
    plain = trained_once(adapted(0.0))
    fast = adapted(0.0)
    found["layers"] = speed_up_lora(fast, fused=True)
    found["kernels and peft"] = far(plain, trained_once(fast))
    some = adapted(0.0, ["q_proj", "v_proj", "up_proj"])
    wanted = trained_once(copy.deepcopy(some))
    speed_up_lora(some, fused=True)
    found["some projections"] = far(wanted, trained_once(some))
    dropping = adapted(0.1)
    speed_up_lora(dropping, fused=True)
    once = trained_once(dropping)
    found["dropped and not"] = abs(once[0] - plain[0])
    found["twice the same bytes"] = far(once, trained_once(dropping)) == 0
    found["recomputed"] = far(once, trained_once(dropping, recompute=True))
    dropping.eval()
    with torch.no_grad(), dropping.disable_adapter():
        ids = torch.arange(40)[None]
        off = dropping(input_ids=ids).logits
        found["switched off is the base"] = bool(torch.equal(off, dropping.unload()(ids).logits))
    found["in 4 bits"] = far(trained_once(in_4_bits()), trained_once(in_4_bits(fused=True)))
    return found


def in_4_bits(fused=False):
    """A model whose projections bitsandbytes holds in 4 bits, with adapters."""
    from bitsandbytes.nn import Linear4bit
    from peft import LoraConfig, get_peft_model

    model = adapted(0.0).unload()
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if name in NAMES:
                small = Linear4bit(
                    part.in_features,
                    part.out_features,
                    bias=part.bias is not None,
                    compute_dtype=torch.float32,
                    quant_type="nf4",
                )
                small.load_state_dict(part.state_dict())
                setattr(parent, name, small.to("cpu"))
    model.is_loaded_in_4bit = True
    torch.manual_seed(3)
    config = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.0, target_modules=NAMES)
    model = get_peft_model(model, config).train()
    for name, part in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(part, std=0.05)
    if fused:
        assert speed_up_lora(model, fused=True) == 14
    return model


def masks():
    """Shares of kept numbers, and correlations of a mask with those beside it."""
    kept = lora_check.mask(2**40 + 7, 0, 512, 4096, 0.1).double()
    others = {
        "next column": kept.roll(1, 1),
        "next row": kept.roll(1, 0),
        "eight columns on": kept.roll(8, 1),
        "another adapter": lora_check.mask(2**40 + 7, 1, 512, 4096, 0.1).double(),
        "another seed": lora_check.mask(2**40 + 8, 0, 512, 4096, 0.1).double(),
    }
    spread = kept.std()
    return {
        "numbers": kept.numel(),
        "kept": float(kept.mean()),
        "rows": [float(kept.mean(1).min()), float(kept.mean(1).max())],
        "columns": [float(kept.mean(0).min()), float(kept.mean(0).max())],
        "correlations": {
            name: float(((kept - kept.mean()) * (other - other.mean())).mean() / spread**2)
            for name, other in others.items()
        },
    }


print(json.dumps({"formulas": formulas(), "models": models(), "masks": masks()}))
