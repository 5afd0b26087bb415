"""The registry of methods: what it reads from the files is what the classes are."""

from dataclasses import MISSING, fields

import pytest

from hebae.config import (
    AFFECT_NOTHING,
    AFFECT_ROUNDING,
    MAY_CHANGE_ON_RESUME,
    MAY_DIFFER_IN_STACK,
    ModelSettings,
    Settings,
)
from hebae.errors import HebaeError
from hebae.likelihoods import LIKELIHOODS
from hebae.methods import LIKELIHOODS as LIKELIHOOD_NAMES
from hebae.methods import METHODS
from hebae.objectives import OBJECTIVES

every = pytest.mark.parametrize("name", METHODS)


@every
def test_the_registry_knows_each_class_as_it_is(name):
    method, objective = METHODS[name], OBJECTIVES[name]
    assert method.class_name == objective.__name__
    constants = ("display_name", "colour", "marker", "units", "stochastic", "adversarial")
    assert [getattr(method, c) for c in constants] == [getattr(objective, c) for c in constants]
    assert set(method.units) <= set(objective().weights)
    defaults = {field.name: field.default for field in fields(objective)}
    assert MISSING not in defaults.values()
    assert {option.name: option.default for option in method.options.values()} == defaults
    assert all(option.description for option in method.options.values())
    settings = Settings(method=name)  # with the method's own defaults
    assert {name: getattr(settings, name) for name in defaults} == defaults


def test_methods_differ_in_name_and_look():
    for values in zip(
        *((m.display_name, m.colour, m.marker) for m in METHODS.values()), strict=True
    ):
        assert len(set(values)) == len(METHODS)


def test_every_listed_likelihood_is_a_setting():
    assert tuple(LIKELIHOODS) == LIKELIHOOD_NAMES
    for name in LIKELIHOODS:
        assert ModelSettings(likelihood=name).likelihood == name


def test_what_may_change_is_known_for_every_setting():
    assert {"epochs", "log_every"} <= MAY_CHANGE_ON_RESUME
    assert not {"seed", "method", "device", "penalty_weight"} & MAY_CHANGE_ON_RESUME
    assert {"penalty_weight", "rate_weight", "seed"} <= MAY_DIFFER_IN_STACK
    assert not {"method", "latent_dim", "batch_size"} & MAY_DIFFER_IN_STACK
    assert {"device", "devices", "compile"} == AFFECT_ROUNDING
    assert not AFFECT_NOTHING & AFFECT_ROUNDING


def test_bad_settings_are_refused_with_the_name_the_value_and_what_is_allowed():
    for changes, facts in (
        ({"penalty_weight": -1.0}, ("penalty_weight", "-1.0", "at least 0")),
        ({"base_variance": 0}, ("base_variance", "0", "above 0")),
        ({"method": "gan"}, ("method", "gan", *METHODS)),
        ({"latent_dims": 3}, ("latent_dims", "latent_dim")),
    ):
        with pytest.raises(HebaeError) as caught:
            Settings.checked(changes)
        assert all(fact in str(caught.value) for fact in facts)
