"""Two-sample distance."""

from __future__ import annotations

import torch

from hebae.priors.base import Prior, Split

BLOCKS = 10


def two_sample_distances(sampler: Prior, split: Split) -> tuple[float, ...]:
    held_out = split.held_out
    mean, scale = held_out.mean(0), held_out.std(0) + 1e-12
    h = torch.from_numpy((held_out - mean) / scale)
    x = torch.from_numpy((sampler.sample(len(h), split.seed + 1) - mean) / scale)
    within = torch.cdist(x, x).sum() / (len(x) * (len(x) - 1))
    out = []
    for b in h.tensor_split(min(BLOCKS, len(h) // 2)):
        own = torch.cdist(b, b).sum() / (len(b) * max(1, len(b) - 1))
        out.append(float(2 * torch.cdist(x, b).mean() - within - own))
    return tuple(out)
