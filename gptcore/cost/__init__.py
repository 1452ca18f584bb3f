"""What training costs, and whether to build a model or to reuse a published one.

`training_cost` gives operations, hours, energy and money of a run, each as low, mid and high. Its
prices and speeds come from the caller or from the dated table in `figures`; what was neither
measured nor given is None. GPT-3 on today's H100s:

    >>> from gptcore.cost import training_cost
    >>> from gptcore.model import ModelConfig
    >>> gpt3 = ModelConfig(block_size=2048, n_layer=96, n_head=96, n_embd=12288)
    >>> cost = training_cost(gpt3, tokens=3e11, accelerator="h100")
    >>> f"{cost.flops.low:.3g} FLOPs, as published; {cost.flops.mid:.3g} with attention"
    '3.14e+23 FLOPs, as published; 3.23e+23 with attention'
    >>> [round(money / 1e6, 1) for money in cost.money]  # millions of dollars, the final run alone
    [0.3, 0.7, 2.1]
    >>> cost.energy_kwh is None  # nothing was measured
    True

Nothing here loads torch before a cost is worked out from the shape of a model.
"""

from gptcore.cost.costs import Cost, training_cost
from gptcore.cost.energy import Energy, measuring_energy
from gptcore.cost.figures import (
    ACCELERATORS,
    DEVELOPMENT,
    MFU,
    PUBLISHED,
    Accelerator,
    Figure,
    Range,
    as_range,
)

__all__ = [
    "ACCELERATORS",
    "DEVELOPMENT",
    "MFU",
    "PUBLISHED",
    "Accelerator",
    "Cost",
    "Energy",
    "Figure",
    "Range",
    "as_range",
    "measuring_energy",
    "training_cost",
]
