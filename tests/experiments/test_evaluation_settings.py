"""What was asked for is told from what was filled in."""

from hebae.experiments.evaluation.settings import EvaluationSettings


def test_fast_fills_in_what_was_not_chosen_and_remembers_what_was():
    plain = EvaluationSettings().for_fast()
    assert plain.features == ("pixels",)
    assert plain.samplers == ("normal", "fitted-normal")
    assert plain.samples == 10_000
    assert not plain.model_fields_set
    chosen = EvaluationSettings(features=("inception",), samples=50).for_fast()
    assert chosen.features == ("inception",)
    assert chosen.model_fields_set == {"features", "samples"}
    assert chosen.model_copy(update={"split": "test"}).samples == 50
