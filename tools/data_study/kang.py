"""Blood cells with and without interferon: count likelihoods, batch correction, counterfactuals."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import COLOURS, Array, data_directory, fitted, neighbours_accuracy
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from torch import Tensor

import hebae
from hebae.data import Dataset, load
from hebae.evaluation import batch_mixing, batch_silhouette, fit_width, iwae
from hebae.likelihoods.base import Context
from hebae.likelihoods.gaussian import GaussianColumns
from hebae.report.style import INK, add_legend, describe, new_figure, styled

FILE = "singlecell/kang_pbmc_ctrl_stim.h5ad"
GROUP, TYPE, GENE = "group_id", "cluster_id", "ISG15"
SETTINGS: dict[str, Any] = {"latent_dim": 10, "epochs": 100, "batch_size": 48}
LIKELIHOODS = {"NB": "negative_binomial", "log-Gaussian": "gaussian_columns"}
METHODS: dict[str, dict[str, Any]] = {"HEBAE": {"rate_weight": 1.0}, "VAE": {}}
GROUPS = {"ctrl": "o", "stim": "^"}
TYPE_COLOURS = {
    "CD4 T cells": "#0072B2",
    "CD8 T cells": "#56B4E9",
    "B cells": "#CC79A7",
    "CD14+ Monocytes": "#D55E00",
    "FCGR3A+ Monocytes": "#E69F00",
}
ISG15_LOOKS: dict[str, dict[str, Any]] = {
    "without": {"marker": "o", "fillstyle": "none", "markersize": 7},
    "predicted": {"marker": "D", "markersize": 7},
    "with interferon": {"marker": "|", "markeredgewidth": 2.5, "markersize": 20},
}
BOUND_SAMPLES = 100


def dataset() -> Dataset:
    """Return all cells."""
    return load(data_directory() / FILE, validation_size=0)


def cells() -> Any:
    """Read the AnnData object, and return it with the rows of training and held-out cells."""
    import anndata

    adata = anndata.read_h5ad(data_directory() / FILE)
    both = adata.obs[GROUP].astype(str) + adata.obs[TYPE].astype(str)
    rows = np.arange(adata.n_obs)
    return adata, *train_test_split(rows, test_size=0.2, stratify=both, random_state=0)


class CountsOfLogGaussian(GaussianColumns):
    """Probabilities of counts under normal distributions of ``log(1 + x l / l_i)``.

    A density of logarithms and a probability of counts have different units. Here count x has the
    probability of the interval from x - 1/2 to x + 1/2, on the scale of the logarithms; that of 0
    starts at minus infinity. These intervals cover the real line, so that the probabilities of all
    counts add up to 1, as those of a negative binomial distribution do.
    """

    support = (0.0, float("inf"))
    whole = True
    size = 1.0
    """l, the mean size of the training cells."""

    def features(self, x: Tensor, context: Context) -> Tensor:
        """Return the logarithms that the model was trained on."""
        return self._logarithm(x, x.sum(-1))

    def losses(self, output: Tensor, x: Tensor, context: Context) -> Tensor:
        """Return minus the logarithm of each interval's probability."""
        size = x.sum(-1)
        middle, scale = self.mean(output), self.log_scale.exp()
        above = (self._logarithm(x + 0.5, size) - middle) / scale
        below = (self._logarithm((x - 0.5).clamp(min=0), size) - middle) / scale
        below = torch.where(x == 0, -torch.inf, below)
        # On the side of the mean where the two probabilities are small: no digits are lost.
        flip = above + below > 0
        low, high = torch.where(flip, -above, below), torch.where(flip, -below, above)
        a, b = torch.special.log_ndtr(low.double()), torch.special.log_ndtr(high.double())
        return -(b + torch.log1p(-(a - b).exp().clamp(max=1 - 1e-12))).to(output)

    def _logarithm(self, x: Tensor, size: Tensor) -> Tensor:
        return (x * (self.size / size.clamp(min=1))[..., None]).log1p()


def logarithms(counts: Array, size: float) -> Array:
    """Return ``log(1 + x l / l_i)``, as the encoder of a count likelihood is given it."""
    return np.log1p(counts * (size / np.maximum(counts.sum(1, keepdims=True), 1))).astype("f4")


def of_counts(model: Any, size: float) -> Any:
    """Return a model of logarithms as a model of counts."""
    module = copy.deepcopy(model.module_)
    likelihood = CountsOfLogGaussian("optimal", shape=module.likelihood.shape)
    for name, value in module.likelihood.named_buffers():
        setattr(likelihood, name, value)
    likelihood.size = size
    module.likelihood = likelihood
    return module.eval()


def measure(work: Path, seed: int, quick: bool) -> dict[str, Any]:
    """Compare likelihoods, correct for the condition, and ask for counterfactuals."""
    adata, train, test = cells()
    counts = np.asarray(adata.X.toarray(), np.float32)
    types, groups = (np.array(adata.obs[name], np.str_) for name in (TYPE, GROUP))
    size = float(counts[train].sum(1).mean())
    logs = logarithms(counts, size)
    short: dict[str, Any] = {"epochs": 3} if quick else {}
    samples = 5 if quick else BOUND_SAMPLES
    record: dict[str, Any] = {"cells": [len(train), len(test)]}
    codes = {"PCA": PCA(SETTINGS["latent_dim"], random_state=0).fit(logs[train]).transform(logs)}
    for method, options in METHODS.items():
        for name, likelihood in LIKELIHOODS.items() if method == "HEBAE" else ():
            settings = SETTINGS | options | short | {"likelihood": likelihood}
            model = getattr(hebae, method)(random_state=seed, **settings)
            x = adata if name == "NB" else logs
            model = fitted(work / f"{method}-{name}-{seed}", model, x[train])
            label = f"{method}, {name}"
            codes[label] = model.transform(x)
            scored = model if name == "NB" else of_counts(model, size)
            width = fit_width(scored, counts[train], steps=2 if quick else 60, seed=seed)
            bound = iwae(
                scored,
                counts[test],
                samples=samples,
                proposal="gaussian-width",
                width=width,
                seed=seed,
            )
            record[label] = {"log_likelihood": bound.value, "error": bound.standard_error}
        settings = SETTINGS | options | short | {"likelihood": "negative_binomial"}
        settings["condition_encoder"] = True
        model = getattr(hebae, method)(random_state=seed, **settings)
        folder = work / f"{method}-conditioned-{seed}"
        model = fitted(folder, model, adata[train], condition=GROUP)
        label = f"{method}, NB, condition"
        codes[label] = model.transform(adata)
        record[label] = counterfactual(model, adata[test], groups[test], types[test])
    for label, z in codes.items():
        record.setdefault(label, {})
        record[label] |= {
            "types": neighbours_accuracy(z[train], types[train], z[test], types[test]),
            "mixing": batch_mixing(z, groups).value,
            "silhouette": batch_silhouette(z, groups).value,
        }
    np.savez(work / f"codes-{seed}.npz", types=types, groups=groups, **codes)
    return record


def counterfactual(model: Any, adata: Any, groups: Array, types: Array) -> dict[str, Any]:
    """Reconstruct held-out cells without interferon as if they had been given it.

    Returned are the means of ISG15 per 10,000 counts, by cell type (without interferon, predicted,
    with interferon), and the correlation over genes of the predicted and the real change of the
    logarithm of the mean, on average over cell types.
    """
    control = groups == "ctrl"
    expected = model.reconstruct(adata[control], condition={GROUP: "stim"})
    predicted, real = (
        1e4 * x / np.maximum(x.sum(1, keepdims=True), 1) for x in (expected, adata.X.toarray())
    )
    gene = list(adata.var_names).index(GENE)
    means, correlations = {}, []
    for kind in sorted(set(types)):
        parts = (
            real[control & (types == kind)],
            predicted[types[control] == kind],
            real[~control & (types == kind)],
        )
        before, fake, after = (part.mean(0) for part in parts)
        means[kind] = [float(x[gene]) for x in (before, fake, after)]
        change = [np.log2((x + 1) / (before + 1)) for x in (fake, after)]
        correlations.append(float(np.corrcoef(*change)[0, 1]))
    return {"isg15": means, "change": float(np.mean(correlations))}


@styled()
def figure(work: Path, seeds: dict[str, Any]) -> Figure:
    """Draw cells without and with correction, likelihoods, and ISG15."""
    figure = new_figure(9.6, 7.2, seeds, "Blood cells with and without interferon (Kang et al.)")
    (left, right), (lower, last) = figure.subplots(2, 2)
    stored = np.load(work / f"codes-{next(iter(seeds))}.npz")
    types, groups = stored["types"], stored["groups"]
    for axes, label, title in (
        (left, "HEBAE, NB", "Codes without a condition"),
        (right, "HEBAE, NB, condition", "Codes with condition=group_id"),
    ):
        points = PCA(2).fit_transform(stored[label])
        for group, marker in GROUPS.items():
            rows = groups == group
            colours = [TYPE_COLOURS[t] for t in types[rows]]
            style = {"c": colours} if marker == "o" else {"edgecolors": colours, "c": "none"}
            axes.scatter(*points[rows].T, s=12, marker=marker, linewidths=0.7, **style)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        mixed = np.mean([record[label]["mixing"] for record in seeds.values()])
        known = np.mean([record[label]["types"] for record in seeds.values()])
        describe(axes, title, f"mixing {mixed:.2f} of perfect; cell type accuracy {known:.2f}")
    marks = [
        Line2D([], [], linestyle="", marker="o", color=colour, label=kind)
        for kind, colour in TYPE_COLOURS.items()
    ]
    marks += [
        Line2D([], [], linestyle="", marker=m, color=INK, fillstyle=fill, label=group)
        for (group, m), fill in zip(GROUPS.items(), ("full", "none"), strict=True)
    ]
    add_legend(figure, [], *marks)

    bounds = {
        name: [record[f"HEBAE, {name}"]["log_likelihood"] for record in seeds.values()]
        for name in LIKELIHOODS
    }
    for place, values in enumerate(bounds.values()):
        lower.plot(np.mean(values), place, "D", color=COLOURS["HEBAE"], markersize=9)
        lower.plot(values, [place] * len(values), ".", color=INK)
        lower.annotate(f"{np.mean(values):,.0f}", (np.mean(values), place), (0, 9), ha="center",
                       textcoords="offset points", fontsize=9)  # fmt: skip
    lower.set_yticks(range(len(bounds)), ["negative\nbinomial", "log-\nGaussian"])
    lower.set(xlabel="nats per cell; higher is better", ylim=(-0.5, 1.5))
    lower.margins(x=0.3)
    describe(lower, "A likelihood of counts", "bound on log p(counts) of held-out cells, HEBAE")

    label = "HEBAE, NB, condition"
    of_types = [r[label]["isg15"] for r in seeds.values()]
    middle = {kind: np.mean([r[kind] for r in of_types], axis=0) for kind in of_types[0]}
    for number, (kind, values) in enumerate(middle.items()):
        for value, look in zip(values, ISG15_LOOKS.values(), strict=True):
            last.plot(value, number, linestyle="", **look, color=TYPE_COLOURS[kind])
    last.set_yticks(range(len(middle)), list(middle))
    last.set(xscale="log", xlabel=f"{GENE} per 10,000 counts", ylim=(-0.6, len(middle) - 0.4))
    last.set(xlim=(0.5, 2000))
    last.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    last.minorticks_off()
    handles = [
        Line2D([], [], color=INK, linestyle="", label=name, **look | {"markersize": 7})
        for name, look in ISG15_LOOKS.items()
    ]
    last.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3)
    last.set_title(f"{GENE} if cells had been given interferon", pad=24)
    return figure
