"""Where the paper or its released code is wrong or silent, and what is done here.

The table of docs/mathematics.md, by key: a study names the lines that bear on it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEVIATIONS", "Deviation"]


@dataclass(frozen=True)
class Deviation:
    """A line of the table."""

    where: str
    what: str
    here: str


DEVIATIONS = {
    "signs": Deviation(
        "Eq. 4, 11, 12",
        "signs of the penalty, of beta^T beta, of lambda_2 ||beta||^2",
        "corrected",
    ),
    "half": Deviation("Eq. 11, 16, 17", "the factor 1/2 is missing", "kept"),
    "scale": Deviation(
        "Eq. 6 against Appendix B", "scalar against vector sigma", "both; vector by default"
    ),
    "elbo": Deviation(
        "Fig. 1a",
        "the objective is called an ELBO, but HEBAE's leaves out KL(q(z|x) || p(z))",
        "called objective; the ELBO and the likelihood are measured beside it",
    ),
    "noise": Deviation(
        "released code",
        "diagonal, detached noise; the Cholesky factor commented out, and transposed wrongly",
        "Cholesky; diagonal on request",
    ),
    "adam": Deviation(
        "released code",
        "Adam made anew each epoch, its moments lost",
        "a schedule on one optimiser",
    ),
    "budgets": Deviation(
        "released code",
        "HEBAE 100 epochs, VAE and WAE 70; WAE at learning rate 1e-3, beta1 0.5",
        "one budget for all",
    ),
    "bytes": Deviation(
        "released code",
        "generated images cast to uint8 so that white wraps to black",
        "rounded and clipped",
    ),
    "counts": Deviation(
        "released code",
        "the VAE's generated files overwrite each other: 1,900 left of 10,000",
        "the same count for every model",
    ),
    "batchnorm": Deviation(
        "released code", "BatchNorm probably never in training mode", "training mode in training"
    ),
    "decoder": Deviation("decoder table, CelebA", 'last layer "ConvT_1"', "3 channels, stride 1"),
    "fid": Deviation(
        "Fig. 1b",
        "sample count, reference split and resampling filter of the FID are not stated",
        "stated with the number",
    ),
    "information": Deviation(
        "Fig. 2c, d",
        "MIC and TIC of an index depend on its arbitrary order; no null is shown",
        "indices in a random order, several draws each, beside permuted indices",
    ),
}
