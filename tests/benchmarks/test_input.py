"""The benchmark of the input runs and leaves nothing behind; no time is asserted."""

import json
import os

import pytest


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="pages cannot be dropped here")
def test_both_parts_are_measured_and_written(script, tmp_path):
    temporary, output = tmp_path / "temporary", tmp_path / "input.json"
    temporary.mkdir()
    words = ["--output", output, "--smoke", "--threads", "1"]
    ran = script("input.py", *words, TMPDIR=str(temporary))
    assert ran.returncode == 0, ran.stderr
    assert "Data larger than memory" in ran.stdout and "Preparing CelebA" in ran.stdout
    record = json.loads(output.read_text())
    assert [aim["at_most"] for aim in record["mapped"]["aims"]] == [1.03] * 4
    assert all(len(values) == 1 for values in record["mapped"]["readings"].values())
    assert record["decoding"]["aims"][0]["median"] > 0
    assert {"command", "commit", "machine", "versions", "date"} <= set(record["provenance"])
    assert not list(temporary.glob("hebae-*"))


def test_a_file_that_does_not_fit_is_refused_before_it_is_written(script, tmp_path):
    ran = script("input.py", "mapped", "--size-gb", "1e9", "--folder", tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.startswith("Error: ") and "has no room for 1000000000.0 GB" in ran.stderr
    assert list(tmp_path.iterdir()) == []
