"""The engine behind `compare`, `sweep`, `evaluate` and `hebae.paper`.

- `plan`: which runs, with which settings; checked before any training.
- `runner`: the folder of an experiment, and the training of its runs.
- `trained_run.TrainedRun`: a finished run, with its model, data, codes and samples.
- `metrics`: what can be measured, one module per family; their docstrings list all ids.
- `measurement.Measurement`: a number with id, standard error, counts, settings and provenance.
- `measure`: takes what is missing of a run and stores it in ``evaluation.json``.
- `table`, `figures`: tables and figures of measurements.
- `compare`, `sweep`, `evaluate`: the three experiments of the command line.

Measurements are looked up by id, never by the name that people see::

    run = TrainedRun(path, dataset, EvaluationSettings(split="test"))
    extractors = feature_extractors(dataset, metrics, run.evaluation)
    measurements = measure(run, choose(["moments", "frechet"]), extractors, command="...")
    value_of(measurements, "moments.mean_abs_correlation.mean")
    find(measurements, "frechet.normal", features="pixels").standard_error
    table = tabulate([Column("HEBAE", run.settings.likelihood, [measurements])], "title")
"""
