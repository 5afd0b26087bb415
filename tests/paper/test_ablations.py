"""What the study of ablations concludes from numbers that are known."""

from finished import ONE_SEED, SEEDS, SMALL, finished, verdicts

from hebae.paper import ablations
from hebae.paper.budgets import data_of, unique
from hebae.paper.study import STUDIES


def ablation_runs(budget, folder, number):
    runs = []
    for planned in unique(ablations.plan(budget)):
        value = number(planned.settings) + planned.settings.seed / 1e4
        criteria = STUDIES["ablations"]["criteria"].values()
        values = {one["id"]: value if one["lower"] else -value for one in criteria}
        runs.append(finished(planned, folder, values))
    return runs


def badness(s):
    """Smaller the more a run decides as the paper does, and the larger its batch."""
    departs = (s.noise == "diagonal") + (s.scale == "scalar") + (s.batch_norm == "frozen")
    return 1.0 + departs + s.reset_optimizer - s.batch_size / 2000


def test_each_decision_has_its_statements_and_a_table_of_its_variants(tmp_path):
    findings = ablations.conclude(SEEDS, ablation_runs(SEEDS, tmp_path, badness))
    assert set(verdicts(findings).values()) == {"holds"}
    assert len(verdicts(findings)) == len(findings.statements) == 12
    opposite = ablations.conclude(SEEDS, ablation_runs(SEEDS, tmp_path, lambda s: 9 - badness(s)))
    assert set(verdicts(opposite).values()) == {"does not hold"}
    columns = [list(made.columns) for made in findings.tables]
    assert columns[0] == ["Cholesky", "diagonal"]
    assert columns[2] == [f"m = {m}" for m in ablations.BATCHES]
    assert columns[4][:2] == ["HEBAE, mnist", "HEBAE, mnist-released"]


def test_without_celeba_the_other_ablations_remain(tmp_path):
    runs = ablation_runs(SMALL, tmp_path, badness)
    runs = [run for run in runs if data_of(run) == "mnist"]
    findings = ablations.conclude(SMALL, runs)
    assert len(findings.tables) == 4
    assert set(verdicts(findings).values()) == {ONE_SEED}
    assert any("its data were not found" in note for note in findings.notes)
