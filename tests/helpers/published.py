"""Folders laid out as published models are, with random weights."""

import json
import shutil

import torch
import transformers  # its models load on their first use: that takes seconds

from gptcore.data.tokenizer import published_file

SHAPE = {"vocab_size": 61, "n_positions": 24, "n_layer": 2, "n_head": 3, "n_embd": 24}


def gpt2(folder, **changes):
    """Write a GPT-2 of `transformers` into a folder; return the model."""
    torch.manual_seed(0)
    last = {**SHAPE, **changes}["vocab_size"] - 1
    config = transformers.GPT2Config(
        **SHAPE | {"bos_token_id": last, "eos_token_id": last} | changes
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():  # far from the initial weights, whose biases are 0 and norms 1
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return model


def add_gpt2_tokens(folder):
    """Put the files of GPT-2's tokenizer into a folder."""
    shutil.copy(published_file("encoder.json"), folder / "vocab.json")
    shutil.copy(published_file("vocab.bpe"), folder / "merges.txt")


def llama(folder, text, *, vocab_size=300):
    """Write a small Llama with a tokenizer of its own, made from a text; return the model."""
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<s>"],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator([text], trainer)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>")
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=vocab_size, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=32, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return model


def edit_config(folder, **changes):
    """Change keys of config.json; None removes one."""
    path = folder / "config.json"
    told = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in told.items() if value is not None}))
