"""Audits of real loaders: an unbroken run, and runs that are killed and resume by their own means.

The text has 20,000 tokens, and the token at position i has the id i, so that the first id of a row
is the start of its window. Windows have 32 inputs, batches 8 windows; the run makes two epochs. It
writes a line for each window to its log, and a checkpoint every 10 steps. The process is ended by
SIGKILL after step 47, resumes from the checkpoint of step 40, and goes on to the end; once with as
many workers, once with another number.

    python docs/results/loaders.py FOLDER             # all loaders that are installed
    python docs/results/loaders.py FOLDER NAME…       # some of them

FOLDER is made. It receives the logs, and the table is printed. The packages of loaders.md are
needed, and gptcore; loaders whose package is not installed are left out.
"""

# The loaders have one interface, which not each of them needs in full.
# ruff: noqa: ARG002, D101, D102, D103

import importlib.metadata
import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from gptcore.audit import audit_resume, read_log

N_TOKENS, T, BATCH, EPOCHS = 20_000, 32, 8, 2
EVERY, KILL_AT, WORKERS, OTHER_WORKERS = 10, 47, 2, 3
LONGEST_S = 300
N_WINDOWS = (N_TOKENS - 1) // T


def window(index):
    """Return the inputs of a window."""
    return np.arange(index * T, index * T + T, dtype=np.int64)


class Windows(Dataset):
    """All windows, by their numbers."""

    def __len__(self):
        return N_WINDOWS

    def __getitem__(self, index):
        return window(int(index))

    def __repr__(self):  # grain compares it when it loads a state
        return "Windows()"


class Stream(IterableDataset):
    """All windows in order, of which each worker reads every k-th."""

    def __iter__(self):
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        return (window(index) for index in range(first, N_WINDOWS, step))


class Skipping:
    """A loader without a state: a resume makes the epoch again and leaves out what was shown."""

    def __init__(self, workers, folder):
        self.workers = workers

    def data(self, epoch):
        """Return the data of an epoch, and whether the loader is to shuffle them."""
        return Windows(), True

    def batches(self, epoch, done, state):
        data, shuffle = self.data(epoch)
        generator = torch.Generator().manual_seed(epoch)
        loader = DataLoader(
            data, BATCH, shuffle=shuffle, generator=generator, num_workers=self.workers
        )
        return itertools.islice(loader, done, None)

    def state(self):
        return None


class SkippingStream(Skipping):
    def data(self, epoch):
        return Stream(), False


def table_of_windows():
    import datasets

    return datasets.Dataset.from_dict({"ids": [window(i) for i in range(N_WINDOWS)]})


class HuggingFace(Skipping):
    def data(self, epoch):
        return table_of_windows().with_format("torch").shuffle(seed=epoch), False


class Stateful:
    """StatefulDataLoader of torchdata, with its state_dict."""

    data, shuffle = Windows, True

    def __init__(self, workers, folder):
        from torchdata.stateful_dataloader import StatefulDataLoader

        torch.manual_seed(0)
        self.source = self.data()
        self.loader = StatefulDataLoader(
            self.source, BATCH, shuffle=self.shuffle, num_workers=workers
        )

    def batches(self, epoch, done, state):
        if hasattr(self.source, "set_epoch"):
            self.source.set_epoch(epoch)
        if state is not None:
            self.loader.load_state_dict(state)
        return self.loader

    def state(self):
        return self.loader.state_dict()


class StatefulStream(Stateful):
    data, shuffle = Stream, False


class HuggingFaceStream(Stateful):
    shuffle = False

    def data(self):
        return table_of_windows().to_iterable_dataset(num_shards=6).with_format("torch")


class HuggingFaceBuffer(HuggingFaceStream):
    def data(self):
        return super().data().shuffle(seed=0, buffer_size=64)


class LitData(Stateful):
    """StreamingDataLoader of litdata."""

    def __init__(self, workers, folder):
        import litdata

        place = folder / "litdata"
        if not place.exists():
            litdata.optimize(
                fn=litdata_sample,
                inputs=list(range(N_WINDOWS)),
                output_dir=str(place),
                num_workers=1,
                chunk_size=52,
            )
        self.source = litdata.StreamingDataset(str(place), shuffle=True, seed=0)
        self.loader = litdata.StreamingDataLoader(
            self.source, batch_size=BATCH, num_workers=workers
        )

    def batches(self, epoch, done, state):
        if state is not None:
            self.loader.load_state_dict(state)
        return self.loader


def litdata_sample(index):
    return {"ids": window(index)}


class Mosaic(LitData):
    """StreamingDataLoader of mosaicml-streaming."""

    def __init__(self, workers, folder):
        import streaming

        place = folder / "mosaic"
        if not place.exists():
            with streaming.MDSWriter(
                out=str(place), columns={"ids": "ndarray"}, size_limit=2**14
            ) as writer:
                for index in range(N_WINDOWS):
                    writer.write({"ids": window(index)})
        self.source = streaming.StreamingDataset(
            local=str(place), shuffle=True, shuffle_seed=0, batch_size=BATCH
        )
        self.loader = streaming.StreamingDataLoader(
            self.source, batch_size=BATCH, num_workers=workers
        )


class Grain:
    """The DataLoader of grain, whose iterator has a state."""

    def __init__(self, workers, folder):
        self.workers = workers
        self.iterator = None

    def make(self, epoch):
        import grain.python as grain

        sampler = grain.IndexSampler(
            N_WINDOWS, shard_options=grain.NoSharding(), shuffle=True, num_epochs=1, seed=epoch
        )
        batch = grain.Batch(BATCH)
        return grain.DataLoader(
            data_source=Windows(), sampler=sampler, operations=[batch], worker_count=self.workers
        )

    def batches(self, epoch, done, state):
        self.iterator = iter(self.make(epoch))
        if state is not None:
            self.iterator.set_state(state)
        return self.iterator

    def state(self):
        return self.iterator.get_state()


class GrainDataset(Grain):
    """A MapDataset of grain with mp_prefetch."""

    def make(self, epoch):
        import grain

        data = grain.MapDataset.source(Windows()).seed(epoch).shuffle().batch(BATCH)
        options = grain.multiprocessing.MultiprocessingOptions(num_workers=self.workers)
        return data.to_iter_dataset().mp_prefetch(options)


LOADERS = {
    "torch DataLoader, shuffled": (Skipping, "torch", "skips batches"),
    "torch DataLoader, IterableDataset": (SkippingStream, "torch", "skips batches"),
    "StatefulDataLoader, shuffled": (Stateful, "torchdata", "state_dict"),
    "StatefulDataLoader, IterableDataset": (StatefulStream, "torchdata", "state_dict"),
    "datasets, shuffled, DataLoader": (HuggingFace, "datasets", "skips batches"),
    "datasets, streaming, StatefulDataLoader": (HuggingFaceStream, "datasets", "state_dict"),
    "datasets, shuffle buffer, StatefulDataLoader": (HuggingFaceBuffer, "datasets", "state_dict"),
    "litdata StreamingDataLoader, shuffled": (LitData, "litdata", "state_dict"),
    "mosaicml-streaming, shuffled": (Mosaic, "mosaicml-streaming", "state_dict"),
    "grain DataLoader, shuffled": (Grain, "grain", "get_state, set_state"),
    "grain MapDataset, mp_prefetch": (GrainDataset, "grain", "get_state, set_state"),
}
MODULES = {"mosaicml-streaming": "streaming"}


def starts_of(batch):
    """Return the starts of the windows in a batch."""
    rows = batch["ids"] if isinstance(batch, dict) else batch
    return [int(row[0]) for row in rows]


def train(name, workers, log, checkpoint, kill_at, folder):
    """Make a run, or go on with one from its checkpoint; it ends itself at `kill_at`."""
    loader = LOADERS[name][0](workers, folder)
    at = {"epoch": 0, "done": 0, "step": 0, "state": None}
    if checkpoint.exists():
        at = torch.load(checkpoint, weights_only=True)
    step, done, state = at["step"], at["done"], at["state"]
    with log.open("a") as file:
        for epoch in range(at["epoch"], EPOCHS):
            for batch in loader.batches(epoch, done, state):
                for start in starts_of(batch):
                    file.write(f"{start},{T},{epoch},{step}\n")
                file.flush()
                step, done = step + 1, done + 1
                if step % EVERY == 0:
                    saved = {"epoch": epoch, "done": done, "step": step, "state": loader.state()}
                    torch.save(saved, checkpoint.with_suffix(".new"))
                    checkpoint.with_suffix(".new").replace(checkpoint)
                if step == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            done, state = 0, None


def start(name, workers, log, kill_at, folder):
    """Run `train` in a process of its own; return its exit code and its last line."""
    words = [name, workers, log, log.with_suffix(".pt"), kill_at, folder]
    call = [sys.executable, __file__, "--child", json.dumps(list(map(str, words)))]
    told = log.with_suffix(".err")  # a file: workers that outlive the kill would keep a pipe open
    with (
        told.open("w") as errors,
        subprocess.Popen(call, stdout=errors, stderr=errors, start_new_session=True) as process,
    ):
        try:
            code = process.wait(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            code = f"no end after {LONGEST_S} s"
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers
    return code, (told.read_text().strip().splitlines() or [""])[-1]


def make_log(name, resumed_with, folder):
    """Return the log of a run, or what ended it; `resumed_with` is None for the unbroken run."""
    short = "".join(letter if letter.isalnum() else "_" for letter in name)
    log = folder / f"{short}-{resumed_with or 'unbroken'}.csv"
    log.with_suffix(".pt").unlink(missing_ok=True)
    log.write_text("start,length,epoch,step\n")
    runs = [(WORKERS, 0)] if resumed_with is None else [(WORKERS, KILL_AT), (resumed_with, 0)]
    for workers, kill_at in runs:
        code, line = start(name, workers, log, kill_at, folder)
        if code != (-signal.SIGKILL if kill_at else 0):
            return None, f"{code}: {line}"
    return read_log(log, n_tokens=N_TOKENS), ""


def audit_loader(name, folder):
    """Print the rows of one loader."""
    package = LOADERS[name][1]
    label = f"{name} | {package} {importlib.metadata.version(package)} | {LOADERS[name][2]}"
    before, problem = make_log(name, None, folder)
    if before is None:
        print(f"| {label} | unbroken | {problem} |", flush=True)
        return
    for workers in (WORKERS, OTHER_WORKERS):
        after, problem = make_log(name, workers, folder)
        if after is None:
            print(f"| {label} | {workers} | {problem} |", flush=True)
            continue
        found = audit_resume(after, before)
        cells = [found.skipped, found.repeated, found.reordered, found.reordered_in_step]
        cells += [found.wrong_epoch, found.other_windows, found.redone, found.verdict]
        print(f"| {label} | {workers} | {' | '.join(map(str, cells))} |", flush=True)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or LOADERS:
        package = LOADERS[name][1]
        if importlib.util.find_spec(MODULES.get(package, package)):
            audit_loader(name, folder)
    for left in folder.glob("*.pt*"):
        left.unlink()


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        name, workers, log, checkpoint, kill_at, folder = json.loads(sys.argv[2])
        train(name, int(workers), Path(log), Path(checkpoint), int(kill_at), Path(folder))
    else:
        main()
