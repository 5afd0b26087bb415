"""Figure 1b: the Frechet distance of samples of CelebA models against lambda."""

from __future__ import annotations

from collections.abc import Sequence

from hebae.experiments.reproduction import faces
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.distances import compare, distances, undefined
from hebae.experiments.reproduction.grids import Grid, Numbers
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.study import Drawing, Findings, FinishedRun, Study
from hebae.report.lines import LinePanel, line_grid

FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Of the preset's weight."""
KINDS = {"normal": "z from N(0, I)", "mixture": "z from a mixture", "reconstructions": "z = μ(x)"}


def plan(budget: Budget) -> list[PlannedRun]:
    """Three methods at the weights of the grid."""
    factors = (0.1, 1.0) if budget.name == "smoke" else FACTORS
    return [
        faces.face_run(budget, method, factor, seed=seed)
        for seed in budget.seeds
        for factor in factors
        for method in faces.METHODS
    ]


def measures(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """Frechet distances of samples and reconstructions."""
    return ("frechet",)


def conclude(budget: Budget, runs: Sequence[FinishedRun]) -> Findings:
    """Draw the distances in each feature space; claims go by the best judge among these."""
    numbers = Numbers(runs, weight_at_one=faces.PRESET)
    names = distances(runs)
    grids = {
        features: {kind: numbers.values("frechet", by_kind[kind]) for kind in KINDS}
        for features, by_kind in names.items()
    }
    drawings = []
    if grids:
        title = f"Frechet distance against λ, {faces.words(runs[0].planned)}"
        panels = [
            [_panel(grid, names[features][kind], features, kind) for kind, grid in by_kind.items()]
            for features, by_kind in grids.items()
        ]
        caption = (
            "After training. Left, samples from N(0, I), the paper's way; beside them samples from "
            "a mixture of normals fitted to the training codes; right, reconstructions. The "
            "features stand at the axis, the counts of images and references above. The dashed "
            "line is the preset's λ; the table has each λ in its units."
        )
        drawings.append(Drawing("figure1b", line_grid(panels, title=title), title, caption))
    found: dict[str, Grid] = next(iter(grids.values()), {})
    normal, mixture = found.get("normal", {}), found.get("mixture", {})
    first = "HEBAE's samples are the best at the preset's λ"
    claims = [
        compare("samples", first, normal),
        compare("robust", "HEBAE's distance depends the least on λ", normal, spread=True),
        compare("samples-mixture", f"{first}, z from a mixture", mixture, whose="ours"),
    ]
    notes = [*faces.notes(budget), *undefined(runs)]
    return Findings(claims, [faces.weight_table(runs)], numbers.records(), drawings, notes)


def _panel(grid: Grid, name: str, features: str, kind: str) -> LinePanel:
    (by_method,) = grid.values()
    lines = {method: by_method.get(method, {}) for method in faces.METHODS}
    counts = name[name.index("@") + 1 : name.index("]")]
    return LinePanel(lines, KINDS[kind], counts, "λ / the preset's", features, "log", "log", 1.0)


STUDY = Study(
    name="figure1b",
    title="Figure 1b: FID against λ, CelebA",
    paper="The paper shows the FID after training of HEBAE, VAE and WAE-MMD over a range of λ, for "
    "k = 64: HEBAE's is the lowest, and depends the least on λ.",
    plan=plan,
    measures=measures,
    conclude=conclude,
    evaluation={"samplers": ("normal", "mixture")},
    deviations=("signs", "half", "noise", "budgets", "bytes", "counts", "batchnorm", "fid"),
)
