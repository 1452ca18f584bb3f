"""What stands in for pytest-benchmark, and work on the CPU to time with it."""

import time
from types import SimpleNamespace

import torch

from bench.measuring.work import Work

CPU = torch.device("cpu")


class FakeBenchmark:
    """Does what pytest-benchmark's pedantic mode does, without its plugin."""

    def pedantic(self, target, rounds):
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            target()
            times.append(time.perf_counter() - start)
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=times))


def work(call, **known):
    return Work(call, CPU, known.pop("tokens", 1), **known)


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
