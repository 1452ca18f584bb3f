"""A machine with noise whose clock goes on only when work is done on it."""

import math

import numpy as np
import torch

from bench.measuring.work import Work

CPU = torch.device("cpu")


def work(call, **known):
    return Work(lambda _end_phase: call(), CPU, tokens=0, **known)


class Machine:
    """A clock that goes on when work is done on it, with noise as real machines have it."""

    def __init__(self, seed=0, *, second=1.0, drift=0.0, read_ns=0):
        self.random = np.random.default_rng(seed)
        self.now_ns = 0
        self.second = second
        self.drift = drift
        self.read_ns = read_ns
        self.last = None

    def read(self):
        self.now_ns += self.read_ns
        return self.now_ns

    def work(self, name, seconds):
        return work(lambda: self.spend(name, seconds))

    def spend(self, name, seconds):
        seconds *= math.exp(0.02 * self.random.standard_normal() + self.drift * self.now_ns / 1e9)
        if self.random.random() < 0.05:
            seconds *= self.random.uniform(1.2, 2)
        # Whoever follows the other finds the caches taken.
        seconds *= self.second if self.last not in (None, name) else 1.0
        self.last = name
        self.now_ns += round(seconds * 1e9)
