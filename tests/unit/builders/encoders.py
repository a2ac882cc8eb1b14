"""A small encoder, alone or as sentence-transformers lays one down: for tests of plumbing, never of
quality.
"""

import json

SIGNS = [chr(0x4E00 + number) for number in range(400)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def build_encoder(folder, seed=0):
    """A two-layer BERT with random weights over single characters. Its embedding of a text is near
    that of the same characters in another order, as a real one's of a paraphrase.
    """
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *SIGNS, "，"]) + "\n", encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(SIGNS) + 1,
        intermediate_size=64,
        max_position_embeddings=64,
        **sizes,
    )
    model = BertModel(config)
    with torch.no_grad():  # what a token is counts, and hardly where it stands
        model.embeddings.word_embeddings.weight.mul_(20)
        model.embeddings.position_embeddings.weight.mul_(0.05)
    model.save_pretrained(folder)
    return folder


def as_sentence_transformer(folder, **said):
    """Lay the files of sentence-transformers beside the model."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps(said))
    return folder
