"""Writers of token files, each as its program writes them."""

import pickle
import struct

import numpy as np


def write_nanogpt(folder, text, *, train_fraction=0.9, meta=True):
    """Write train.bin, val.bin and meta.pkl of characters, as nanoGPT's prepare.py does."""
    folder.mkdir(parents=True, exist_ok=True)
    characters = sorted(set(text))
    stoi = {character: i for i, character in enumerate(characters)}
    itos = dict(enumerate(characters))
    ids = np.array([stoi[character] for character in text], dtype=np.uint16)
    n_train = int(train_fraction * len(ids))
    ids[:n_train].tofile(folder / "train.bin")
    ids[n_train:].tofile(folder / "val.bin")
    if meta:
        content = {"vocab_size": len(characters), "itos": itos, "stoi": stoi}
        (folder / "meta.pkl").write_bytes(pickle.dumps(content))
    return ids


def write_llmc(path, ids, *, magic=20240520, version=1, dtype="<u2", count=None):
    """Write a .bin of llm.c: 256 int32, then the ids."""
    header = np.zeros(256, dtype="<i4")
    header[:3] = magic, version, len(ids) if count is None else count
    path.write_bytes(header.tobytes() + np.asarray(ids, dtype=dtype).tobytes())


def write_megatron(path, documents, *, code=8, dtype="<u2", **wrong):
    """Write PATH.bin and PATH.idx of Megatron, one sequence for each document.

    `wrong` replaces parts of the index: lengths, pointers, borders, counts, version or magic.
    """
    lengths = np.array([len(document) for document in documents])
    ids = np.concatenate([np.asarray(document, dtype=dtype) for document in documents])
    path.with_suffix(".bin").write_bytes(ids.tobytes())
    pointers = (np.cumsum(lengths) - lengths) * ids.itemsize
    counts = wrong.get("counts", (len(documents), len(documents) + 1))
    path.with_suffix(".idx").write_bytes(
        wrong.get("magic", b"MMIDIDX\0\0")
        + struct.pack("<QBQQ", wrong.get("version", 1), code, *counts)
        + np.asarray(wrong.get("lengths", lengths), dtype="<i4").tobytes()
        + np.asarray(wrong.get("pointers", pointers), dtype="<i8").tobytes()
        + np.asarray(wrong.get("borders", range(len(documents) + 1)), dtype="<i8").tobytes()
    )
