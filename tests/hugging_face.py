"""Folders of small models of transformers with random weights, as the Hugging Face hub has them, and their tokenizers.

Import this module after `pytest.importorskip("transformers")`.
"""

import json
import string
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = "this object is extremely very far close away unseen a photo of large room x y table appears to be ."
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
T5 = {"d_model": 32, "d_kv": 16, "num_layers": 2, "num_heads": 2, "d_ff": 64}
M2M = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
M2M |= {"decoder_attention_heads": 2, "decoder_ffn_dim": 64}
CONFIGS = {
    "roberta": lambda size: transformers.RobertaConfig(vocab_size=size, max_position_embeddings=40, **SIZES),
    "xlm-roberta": lambda size: transformers.XLMRobertaConfig(vocab_size=size, max_position_embeddings=40, **SIZES),
    "mt5": lambda size: transformers.MT5Config(vocab_size=size, **T5),
    "nllb": lambda size: transformers.M2M100Config(vocab_size=size, max_position_embeddings=40, **M2M),
}
POOLERS = {"roberta": "cls_pooler", "xlm-roberta": "mean_pooler", "mt5": "mean_pooler", "nllb": "cls_pooler"}


def text_folder(folder: Path, kind: str) -> str:
    """Write the configuration of a text tower and a tokenizer of words, and return the path of the folder."""
    specials = ["<pad>", "</s>", "<unk>"] if kind == "mt5" else ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {word: index for index, word in enumerate([*specials, *WORDS.split()])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    single, ends = ("$A </s>", ["</s>"]) if kind == "mt5" else ("<s> $A </s>", ["<s>", "</s>"])
    special_tokens = [(token, vocabulary[token]) for token in ends]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=special_tokens)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", padding_side="right"
    )
    fast.save_pretrained(folder)
    CONFIGS[kind](len(vocabulary)).save_pretrained(folder)
    return str(folder)


def clip_config(folder: str, kind: str, context: int = 16) -> dict:
    """Return the open_clip configuration of a model with the text tower of a folder."""
    text = {"hf_model_name": folder, "hf_tokenizer_name": folder, "hf_pooler_type": POOLERS[kind]}
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
    text |= {"hf_proj_type": "linear", "context_length": context}
    return {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}


def tips_folder(folder: Path, seed: int = 0) -> str:
    """Write a small TIPSv2 with a tokenizer of letters, and return the path of the folder."""
    letters = string.ascii_lowercase + string.digits + ".,!"
    tokens = ["<pad>", "<unk>", "▁", *letters, *(f"▁{letter}" for letter in letters)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    transformers.Tipsv2Tokenizer(vocabulary, [("▁", letter) for letter in letters]).save_pretrained(folder)
    config = transformers.Tipsv2Config(
        text_config={"vocab_size": len(tokens), **SIZES},
        vision_config={"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56},
    )
    torch.manual_seed(seed)
    model = transformers.Tipsv2Model(config)
    for key, value in model.named_parameters():
        if value.ndim == 1 and "temperature" not in key:
            value.data += 0.1 * torch.randn(value.shape)  # the norms, scales and biases are ones and zeros
        if "register_tokens" in key:
            value.data.normal_()  # the library creates them as zeros
    model.save_pretrained(folder)
    return str(folder)


def set_config(folder: str, file: str, **values: object) -> None:
    """Change values of a JSON file in a folder."""
    path = Path(folder, file)
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
