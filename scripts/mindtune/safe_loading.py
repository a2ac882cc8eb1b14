"""The one way in which a model or a tokenizer is loaded: its folder is looked through first, and
no library runs code of it.

Every library is told so explicitly. Nothing else in this project calls `from_pretrained` or
ms-swift's loaders (a test says so); LMDeploy has its own process, lmdeploy_server.py. Nothing is
imported before it is needed: each library takes seconds.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mindtune.chat_templates import check_templates
from mindtune.cli import UserError
from mindtune.model_files import check_files

LOCAL = {"local_files_only": True, "trust_remote_code": False}


@cache
def _check(folder: Path) -> None:
    check_files(folder)
    check_templates(folder)


def check_folder(folder: str | Path) -> None:
    """No code, no settings that name any, and no chat template without bounds; once a process for
    each folder.
    """
    _check(Path(folder).resolve())


def load_config(folder: str | Path) -> Any:
    """A model's configuration."""
    from transformers import AutoConfig

    check_folder(folder)
    return AutoConfig.from_pretrained(folder, **LOCAL)


def load_tokenizer(folder: str | Path) -> Any:
    """transformers' tokenizer of a folder. What it renders has to be rendered by mindtune.chat
    first: that has bounds.
    """
    from transformers import AutoTokenizer

    check_folder(folder)
    return AutoTokenizer.from_pretrained(folder, **LOCAL)


def load_model(folder: str | Path, dtype: Any) -> Any:
    """A causal language model, on the CPU."""
    from transformers import AutoModelForCausalLM

    check_folder(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, **LOCAL)


def load_encoder(folder: str | Path, dtype: Any) -> Any:
    """A model without a head, whose last hidden states are embeddings, on the CPU. Weights that the
    folder lacks, which the library would draw at random, are a UserError.
    """
    from transformers import AutoModel

    check_folder(folder)
    model, found = AutoModel.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **LOCAL
    )
    # a layer over the first token, for sentence pairs; nobody here uses it
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise UserError(
            f"{folder} has no weights for {missing[0]} ({len(missing)} tensors are missing), so it "
            f"is no whole {type(model).__name__}; give the folder of a whole encoder"
        )
    return model


def random_model(config: Any, dtype: Any) -> Any:
    """A model of a configuration, with random weights."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)


def load_adapter(model: Any, folder: str | Path) -> Any:
    """A model with a LoRA adapter beside its weights."""
    from peft import PeftModel

    check_folder(folder)
    return PeftModel.from_pretrained(model, folder, local_files_only=True)


def end_tokens(folder: str | Path, tokenizer: Any) -> list[int]:
    """Ids that end a reply, of generation_config.json or else of the tokenizer."""
    from transformers import GenerationConfig

    check_folder(folder)
    ends = (
        GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
        or tokenizer.eos_token_id
    )
    return [ends] if isinstance(ends, int) else list(ends)


def load_gguf(kind: str, file: Path, **options: Any) -> Any:
    """AutoTokenizer, AutoConfig or AutoModelForCausalLM of a GGUF file, which lies in a package of
    ours, among its code.
    """
    import transformers

    return getattr(transformers, kind).from_pretrained(
        file.parent, gguf_file=file.name, **options, **LOCAL
    )


def guard_swift() -> None:
    """Keep ms-swift 4.6.0 in this process from running code of a model folder, for which it has no
    flag.

    Its loaders run it by default; and where it looks a model up it always lets transformers run
    it, which it then says in its log.
    """
    from swift.model import model_meta
    from swift.model.register import ModelLoader
    from transformers import AutoConfig

    def from_pretrained(folder: str, **_: Any) -> Any:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)

    ModelLoader.default_trust_remote_code = False
    model_meta.AutoConfig = SimpleNamespace(from_pretrained=from_pretrained)
    model_meta.logger.addFilter(
        lambda line: line.funcName != "_get_model_info" or "trust_remote_code" not in line.msg
    )


def swift_template(folder: Path, model: Mapping[str, Any], **options: Any) -> Any:
    """ms-swift's template over a folder's tokenizer, for programs that run no `swift` command."""
    check_folder(folder)
    guard_swift()
    from swift.model import get_processor
    from swift.template import get_template

    return get_template(
        get_processor(str(folder), model_type=model["type"]),
        template_type=model["template"],
        **options,
    )


def swift_export(folder: Path, words: list[str]) -> None:
    """`swift export` in this process; `folder` is the one that its words name."""
    check_folder(folder)
    guard_swift()
    from swift.pipelines import export_main

    export_main(words)
