"""``hebae evaluate``: one yardstick for every run, kept with the run, tabled side by side."""
