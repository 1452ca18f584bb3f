"""gptcore: what small-GPT training is made of, with exact theory beside every measurement.

Data flows through the modules in this order: corpora → tokenizer → tokens → splits → samplers →
batches → model → training → evaluation, generation; coverage and theory look at the samplers.
"""
