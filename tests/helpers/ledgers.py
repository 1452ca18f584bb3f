"""Synthetic ledgers, valid by the schema, with values of the size that a real run gives."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from bench.ledger.record import FIELDS, LEDGER_NAME, Record, dumps, new_record

CORPUS = "python-docs"
SAMPLERS = ("random_replacement", "sequential", "shuffled_blocks")
COVERAGE = (*SAMPLERS, "grid_replacement", "random_phase_blocks")
GRID = {"grid_replacement", "shuffled_blocks", "sequential"}
TRAIN_TOKENS = 125_000
BLOCK, BATCH = 256, 16


def record(case: str | None, **fields: Any) -> Record:
    """Return a valid record: what is not given gets a plain default."""
    base = new_record(
        environment="env-1",
        command="pytest --benchmark-only --suite=standard",
        commit="0123456789abcdef0123456789abcdef01234567",
        case=case,
        started_at="2026-03-01T10:00:00+00:00",
        duration_s=1.5,
    )
    assert base.keys() == FIELDS.keys()
    return base | fields


def environment(**fields: Any) -> Record:
    facts = {
        "machine": {
            "cpu": "Example CPU @ 2.60GHz",
            "cores": 2,
            "memory_bytes": 16 * 2**30,
            "platform": "Linux-6.1-x86_64",
            "cpu_flags": ["avx2", "avx512f", "amx_bf16"],
            "accelerators": [],
            "load_before": 0.12,
        },
        "software": {"python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.6"},
        "run": {
            "suite": "standard",
            "devices": ["cpu"],
            "corpora": [CORPUS],
            "threads": 2,
            "source_sha256": "a" * 64,
            "dirty": False,
            "folder": "results/20260301T100000Z-0123456",
        },
        "corpora": [
            {
                "name": CORPUS,
                "source": "pydoc_data.topics of CPython 3.11",
                "licence": "PSF-2.0",
                "sha256": "b" * 64,
                "n_bytes": 712_000,
                "n_tokens": 139_000,
                "cleaning": ["line ends to LF"],
            }
        ],
    }
    metrics = {
        "gemm_fp32_flops_per_s": 2.2e11,
        "gemm_bf16_flops_per_s": 1.2e12,
        "copy_bytes_per_s": 1.1e10,
        "reference_speed": 1.05,
    }
    return record(None, record="environment", facts=facts, metrics=metrics) | fields


def model_case(work: str, precision: str, time_s: float, peak: float, **params: Any) -> Record:
    batch, block, n_params = 4, 256, 123_849_984
    rng = np.random.default_rng(7)
    flops = (6 if work == "step" else 2) * n_params * batch * block * 1.03
    samples = {"time_s": (time_s * (1 + 0.02 * rng.standard_normal(5))).tolist()}
    metrics: dict[str, Any] = {
        "time_s": time_s,
        "time_min_s": min(samples["time_s"]),
        "time_max_s": max(samples["time_s"]),
        "rounds": 5,
        "warmup_s": 2.2 * time_s,
        "tokens_per_s": batch * block / time_s,
        "flops": flops,
        "flops_per_s": flops / time_s,
        "mfu": flops / time_s / peak,
        "n_params": n_params,
    }
    if work == "step":
        shares = {"data": 0.001, "forward": 0.24, "loss": 0.07, "backward": 0.6, "optimizer": 0.08}
        metrics |= {f"{phase}_s": share * time_s for phase, share in shares.items()}
        samples |= {f"{phase}_s": [share * time_s] * 5 for phase, share in shares.items()}
    given = {
        "corpus": CORPUS,
        "model": "model5",
        "n_layer": 12,
        "n_head": 12,
        "n_embd": 768,
        "vocab_size": 50_257,
        "device": "cpu",
        "precision": precision,
        "batch_size": batch,
        "block_size": block,
        "work": work,
    } | params
    name = f"{given['corpus']}-{given['model']}-cpu-{precision}-B{batch}-T{block}-seed0"
    case = f"bench_model::test_{work}[{name}]"
    return record(
        case, group="model", params=given, metrics=metrics, samples=samples, duration_s=30.0, seed=0
    )


def coverage_case(
    sampler: str, epochs: float, corpus: str = CORPUS, text_share: float = 1.0
) -> Record:
    rng = np.random.default_rng(11)
    train_tokens = round(text_share * TRAIN_TOKENS)
    targets, random = train_tokens - 1, sampler.endswith("replacement")
    steps = math.ceil(epochs * targets / (BLOCK * BATCH))
    grid_missed = 0.0228 * targets
    at_random = max(targets * math.exp(-epochs), 4.0 if text_share < 1 else 34.6)
    expected = at_random if random else max(grid_missed, (1 - epochs) * targets)
    missed = round(expected * 1.01) if random else round(expected)
    visits = (
        rng.poisson(epochs, 4000)
        if random
        else np.floor(epochs + np.arange(4000) / 4000).astype(int)
    )
    counts = np.bincount(visits)
    curve = []
    for step in range(1, steps + 1, max(1, steps // 100)):
        epoch = step * BLOCK * BATCH / targets
        share = 1 - math.exp(-epoch) if random else min(epoch, 1 - 0.0228)
        expected_share = share if random or epoch <= 1 else None
        row = {"step": step, "epochs": epoch, "covered": share, "expected": expected_share}
        curve.append(row)
    by_position = [
        {
            "bin_start": 1250 * i,
            "bin_stop": 1250 * (i + 1),
            "visits_mean": float(epochs * (1 + (0.2 * math.sin(i) if random else 0.0))),
            "visits_min": float(math.floor(epochs * 0.4) if random else math.floor(epochs)),
            "visits_max": float(math.ceil(epochs * 1.8) if random else math.ceil(epochs)),
            "missed": 0,
        }
        for i in range(100)
    ]
    metrics = {
        "n_tokens": 139_000,
        "train_tokens": train_tokens,
        "test_tokens": 13_900,
        "draws": steps * BATCH,
        "steps": steps,
        "epochs": steps * BATCH * BLOCK / targets,
        "missed_targets": missed,
        "missed_edge": min(missed, 30),
        "missed_interior": max(missed - 30, 0),
        "repeated_windows": 60 if random else 0,
        "visits_mean": epochs,
        "visits_sd": float(visits.std()),
        "visits_min": 0 if missed else int(visits.min()),
        "visits_max": int(visits.max()),
        "visits_gini": 0.15 if random else 0.02,
        "gaps": 3 if random else 0,
        "longest_gap": 40 if random else 0,
        "alignment_coverage": 0.0039 if sampler in GRID else min(1.0, 0.0039 * epochs),
        "expected_missed_targets": expected,
        "expected_visits_mean": epochs,
        "sd_missed_targets": math.sqrt(12 * expected) if random else 0.0,
        "z_missed_targets": 0.4 if random else None,
    }
    series = {
        "visits_histogram": [
            {"visits": i, "targets": int(n)} for i, n in enumerate(counts.tolist()) if n
        ],
        "visits_by_position": by_position,
        "coverage_curve": curve,
    }
    params = {
        "corpus": corpus,
        "sampler": sampler,
        "drop_last": False,
        "target_epochs": epochs,
        "batch_size": BATCH,
        "block_size": BLOCK,
        "text_share": text_share,
    }
    name = f"{corpus}-share{text_share:g}-{sampler}-keep-e{epochs:g}-B{BATCH}-T{BLOCK}-seed0"
    return record(
        f"bench_coverage::test_coverage[{name}]",
        group="coverage",
        params=params,
        metrics=metrics,
        series=series,
        seed=0,
    )


def loader_case(sampler: str, epochs: float, missed: int, **metrics: Any) -> Record:
    """Return a case of a real DataLoader that shows what its sampler does, but for `metrics`."""
    counts = {f"{of}missed_targets": missed for of in ("", "expected_", "sampler_")}
    repeated = dict.fromkeys(("repeated_windows", "sampler_repeated_windows"), 0)
    params = {"sampler": sampler, "drop_last": True, "target_epochs": epochs}
    return record(
        f"bench_loaders::test_dataloader[{CORPUS}-drop_last-{sampler}-epochs{epochs:g}]",
        group="dataloader",
        params={"corpus": CORPUS, "batch_size": BATCH, "block_size": BLOCK} | params,
        metrics={"draws": 480, "sd_missed_targets": 0.0} | counts | repeated | metrics,
    )


def audited_case(seed: int, faults: int) -> Record:
    """Return a training run that read a real DataLoader and was audited."""
    case = training_case("sequential", seed)
    case["metrics"] |= {
        "audited_draws": 480, "audit_faults": faults, "audit_notes": 1, "identical_epochs": 0,
        "missed_targets": 5 + 96 * faults, "expected_missed_targets": 5, "sd_missed_targets": 0.0,
    }  # fmt: skip
    told = {"kind": "missed_targets", "count": 96, "explanation": "Whole windows are missing."}
    case["facts"] = {"audit": [told | {"severity": "fault"}] * faults}
    return case


def position_case(raw: bool, corpus: str = CORPUS, **metrics: Any) -> Record:
    n_blocks, n_tokens, size = 60, 139_000, 13_900
    profile = [
        {
            "start": start,
            "stop": start + size,
            "unigram": 5.8 + 0.3 * math.sin(start / 9_000),
            "bigram": 4.2,
            "js": 0.1,
            "unseen": 0.02,
        }
        for start in np.linspace(0, n_tokens - size, n_blocks).astype(int).tolist()
    ]
    given = {
        "n_tokens": n_tokens,
        "boilerplate_tokens": 3_000 if raw else 0,
        "boilerplate_share_of_test": 0.21 if raw else 0.0,
        "n_blocks": n_blocks,
        "mean_unigram": 5.8,
        "sd_unigram": 0.25,
        "tail_unigram": 6.8 if raw else 5.3,
        "tail_bigram": 4.1,
        "tail_js": 0.12,
        "tail_unseen": 0.019,
        "rank_unigram": 1 if raw else 60,
        "rank_bigram": 2,
        "rank_js": 3,
        "rank_unseen": 40,
    } | metrics
    return record(
        f"bench_position::test_position[{corpus}-{'raw' if raw else 'cleaned'}]",
        group="position",
        params={"corpus": corpus, "raw": raw},
        metrics=given,
        series={"position_profile": profile},
    )


def throughput_case(name: str, time_s: float, **fields: Any) -> Record:
    metrics = {
        "time_s": time_s,
        "time_min_s": 0.9 * time_s,
        "time_max_s": 1.2 * time_s,
        "rounds": 5,
        "tokens_per_s": 819_200 / time_s,
    }
    more = fields.pop("metrics", {})
    return record(name, group="throughput", metrics=metrics | more, **fields)


def loading_case(source: str, way: str, time_s: float) -> Record:
    return throughput_case(
        f"bench_loading::test_load[{CORPUS}-{source}-{way}-B64-T256-seed0]",
        time_s,
        metrics={"bytes_per_token": 8 if source == "memory" else 2},
        params={
            "corpus": CORPUS,
            "source": source,
            "way": way,
            "batch_size": 64,
            "block_size": 256,
        },
    )


def counting_case(n_tokens: int = 10**9, draws: int = 10**6) -> Record:
    return throughput_case(
        f"bench_coverage::test_ledger[N{n_tokens}-K{draws}-T256]",
        0.8,
        metrics={"ledger_tokens": n_tokens, "draws": draws},
        params={"n_tokens": n_tokens, "draws": draws, "block_size": 256},
    )


def training_case(sampler: str, seed: int, shift: float = 0.0, corpus: str = CORPUS) -> Record:
    rng = np.random.default_rng(seed)
    steps, tokens_per_step = 60, 1024
    final = 6.1 + shift + 0.02 * float(rng.standard_normal())

    def rows(at: np.ndarray[Any, Any], noise: float) -> list[dict[str, float]]:
        losses = final + (8.6 - final) * np.exp(-at / 14) + noise * rng.standard_normal(len(at))
        return [
            {
                "step": int(step),
                "tokens": int(step) * tokens_per_step,
                "epochs": float(step) / steps,
                "loss": float(value),
            }
            for step, value in zip(at, losses, strict=True)
        ]

    test_curve = rows(np.linspace(0, steps, 6).round(), 0.0)
    final = test_curve[-1]["loss"]
    metrics = {
        "initial_test_loss": test_curve[0]["loss"],
        "final_test_loss": final,
        "final_test_loss_low": final - 0.06,
        "final_test_loss_high": final + 0.06,
        "bits_per_byte": final / math.log(2) / 4.2,
        "unigram_test_loss": 6.35,
        "above_unigram_low": final - 6.35 - 0.03,
        "above_unigram_high": final - 6.35 + 0.03,
        "final_train_loss": final - 0.05,
        "train_tokens_per_s": 8200.0,
        "train_tokens": 62_000,
        "vocab_size": 8192,
        "steps": steps,
        "epochs": 1.0,
        "missed_targets": 22_800 if sampler == "random_replacement" else 31,
        "shared_tokens": 0,
        "shared_targets": 0,
        "shared_13grams": 37,
        "fraction_of_test_targets_trained": 0.0,
    }
    before = "ions ions ions ions ions\x1b[31m\x00 ions"
    after = "The statement is the same of the object, and\nthe value is a function."
    generated = [
        {"when": "before", "prompt": "The", "text": before},
        {"when": "after", "prompt": "The", "text": after},
    ]
    params = {
        "corpus": corpus,
        "sampler": sampler,
        "model": "custom",
        "n_layer": 4,
        "n_head": 4,
        "n_embd": 128,
        "batch_size": 16,
        "block_size": 64,
        "vocab_size": 8192,
        "learning_rate": 1e-3,
        "name": "samplers",
        "experiment": corpus,
        "arm": sampler,
        "reader": "sampler",
        "init": "gpt2",
        "weight_decay": 0.1,
        "order_seed": None,
    }
    return record(
        f"bench_convergence::test_train[samplers-{corpus}-{sampler}-seed{seed}]",
        group="convergence",
        params=params,
        seed=seed,
        metrics=metrics,
        series={
            "loss_curve": rows(np.arange(1, steps + 1), 0.05),
            "test_curve": test_curve,
            "generated": generated,
        },
    )


def with_form(case: Record, course: dict[str, list[float | None]], **controls: float) -> Record:
    """Return a training case with the z of measures at updates 0, 10, 20, … and of controls."""

    def row(source: str, step: int | None, measure: str, z: float | None) -> dict[str, Any]:
        known = None if z is None else 0.5 + math.atan(z) / math.pi
        return {
            "source": source,
            "step": step,
            "measure": measure,
            "value": None if z is None else 0.3 + 0.01 * z,
            "z": z,
            "share_below": known,
            "share_above": None if known is None else 1 - known,
            "usual_share": 0.95,
        }

    rows = [
        row("model", 10 * i, m, z) for m, values in course.items() for i, z in enumerate(values)
    ]
    rows += [row(source, None, m, z) for source, z in controls.items() for m in course]
    return case | {"series": case["series"] | {"form_curve": rows}}


def comparison_case(a: str, b: str, differences: list[float], **metrics: Any) -> Record:
    mean, sd = float(np.mean(differences)), float(np.std(differences, ddof=1))
    half = 2.57 * sd / math.sqrt(len(differences))
    slope = metrics.get("late_slope", 0.2)
    given = {
        "n_seeds": len(differences),
        "n_claims": 4,
        "n_diverged": 0,
        "difference": mean,
        "difference_low": mean - half,
        "difference_high": mean + half,
        "sign_flip_low": mean - 0.9 * half,
        "sign_flip_high": mean + 0.9 * half,
        "median_difference": float(np.median(differences)),
        "share_a_better": float(np.mean(np.array(differences) < 0)),
        "share_a_better_low": 0.2,
        "share_a_better_high": 1.0,
        "late_slope": slope,
        "steps_factor": math.exp(mean / slope) if abs(mean) <= math.log(2) * slope else None,
        "text_low": mean - 0.03,
        "text_high": mean + 0.03,
        "reached_loss": 6.2,
        "a_tokens_to_reach": 40_000,
        "b_tokens_to_reach": 50_000,
        "a_time_to_reach_s": 5.0,
        "b_time_to_reach_s": 6.0,
        "tokens_ratio": 0.8,
        "tokens_ratio_low": 0.7,
        "tokens_ratio_high": 0.9,
        "n_censored": 0,
        "sd_difference": sd,
        "p_value": 0.0234375,
        "p_adjusted": 0.09375,
        "margin": 0.02,
        "p_equivalence": 0.4,
        "p_equivalence_adjusted": 0.8,
    } | metrics
    return record(
        f"bench_convergence::test_compare[samplers-{CORPUS}-{a}-vs-{b}-n{len(differences)}]",
        group="comparison",
        params={"corpus": CORPUS, "a": a, "b": b, "experiment": CORPUS},
        metrics=given,
        samples={"difference": differences},
        series={
            "difference_curve": [
                {
                    "step": step,
                    "tokens": 512 * step,
                    "epochs": step / 60,
                    "difference": mean * step / 60,
                    "low": (mean - half) * step / 60,
                    "high": (mean + half) * step / 60,
                }
                for step in (0, 30, 60)
            ]
        },
        facts={"margin_from": "The margin is the gain of 10 % more steps."},
    )


def variance_case(corpus: str, order_share: float) -> Record:
    """Return the record of 4 x 4 crossed runs of initialisations and orders."""
    shares = (0.1, order_share, 0.9 - order_share)
    sources = ("initialisation", "order of the data", "initialisation with order and the rest")
    rows = [
        {
            "source": source,
            "levels": 16 if "rest" in source else 4,
            "variance": 1e-4 * share,
            "sd": 0.01 * share**0.5,
            "sd_low": 0.0,
            "sd_high": 0.03,
            "share": share,
            "share_low": 0.0,
            "share_high": 0.97,
            "detectable_sd": None if "rest" in source else 0.02,
        }
        for source, share in zip(sources, shares, strict=True)
    ]
    return record(
        f"bench_convergence::test_outcome[{corpus}-variance]",
        group="outcome",
        params={
            "corpus": corpus,
            "experiment": f"crossed-{corpus}-L2",
            "question": "variance",
            "seeds": 4,
        },
        metrics={"n_runs": 16, "mean_loss": 5.2, "sd_loss": 0.01},
        series={"variance": rows},
    )


def design_case(n_seeds: int = 8, n_claims: int = 4) -> Record:
    """Return the record that says, before the runs, what they can find."""
    least = min(1.0, n_claims * 2.0 ** (1 - n_seeds))
    return record(
        f"bench_convergence::test_design[samplers-{CORPUS}-seeds{n_seeds}]",
        group="design",
        params={"corpus": CORPUS, "seeds": n_seeds},
        metrics={
            "n_seeds": n_seeds,
            "n_claims": n_claims,
            "smallest_p": least,
            "planned_sd": 0.02,
            "planned_detectable": None if least > 0.05 else 0.038,
        },
    )


def skip(case: str, reason: str, **fields: Any) -> Record:
    return record(case, record="skip", status="skipped", reason=reason, **fields)


def standard_ledger() -> list[Record]:
    """Return what a `standard` run leaves: every group, one failure, one skip."""
    random, ordered, shuffled = SAMPLERS
    models = [
        model_case("forward", "fp32", 1.8, 2.2e11),
        model_case("forward_loss", "fp32", 2.2, 2.2e11),
        model_case("step", "fp32", 5.6, 2.2e11),
        model_case("forward", "bf16", 0.71, 1.2e12),
        model_case("step", "bf16", 2.5, 1.2e12),
    ]
    coverage = [coverage_case(s, e) for s in COVERAGE for e in (0.5, 1.0, 2.0, 4.0, 14.4)]
    scarce = [coverage_case(s, 14.4 / p, text_share=p) for s in SAMPLERS[::2] for p in (0.1, 0.01)]
    ways = (
        ("memory", "gather", 0.004),
        ("mapped", "gather", 0.005),
        ("memory", "dataloader", 0.04),
    )
    loading = [loading_case(*way) for way in ways]
    position = [position_case(raw=False), position_case(raw=True)]
    training = [
        training_case(s, seed, shift=0.06 if s == ordered else 0.0)
        for s in SAMPLERS
        for seed in range(8)
    ]
    comparisons = [
        comparison_case(
            random,
            ordered,
            [-0.05, -0.07, -0.06, -0.05, -0.08, -0.055, -0.065, -0.06],
            p_value=0.0078125,
            p_adjusted=0.03125,
        ),
        comparison_case(
            random,
            shuffled,
            [0.004, -0.003, 0.002, -0.005, 0.001, 0.003, -0.002, 0.001],
            p_value=0.8,
            p_adjusted=0.8,
            p_equivalence=0.00390625,
            p_equivalence_adjusted=0.015625,
        ),
    ]
    others = [
        skip(
            "bench_model::test_step[python-docs-model5-cuda-bf16-B4-T256-seed0]",
            "no accelerator was found",
            group="model",
        ),
        record(
            "bench_model::test_step[python-docs-gpt2-medium-cpu-fp32-B4-T256-seed0]",
            group="model",
            status="failed",
            reason="MemoryError: 11.2 GiB needed, 7.9 GiB free",
        ),
    ]
    first = [environment(), *models, *loading, counting_case(), *coverage, *scarce, *position]
    crossed = variance_case(CORPUS, 0.4)
    return [*first, design_case(), *training, *comparisons, crossed, *others]


def write_ledger(folder: Path, records: list[Record]) -> Path:
    """Write a results folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{dumps(item)}\n" for item in records)
    (folder / LEDGER_NAME).write_text(text, encoding="utf-8")
    return folder
