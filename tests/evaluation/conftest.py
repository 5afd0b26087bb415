"""A cache of its own for tests that store features or weights."""

import pytest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    for name in ("HEBAE_INCEPTION_WEIGHTS", "HEBAE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"
