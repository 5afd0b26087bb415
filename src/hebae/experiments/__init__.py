"""The engine behind `compare`, `sweep`, `evaluate` and `hebae.paper`.

- `plan`: which runs, with which settings; checked before any training.
- `runner`: the folder of an experiment, and the training of its runs.
- `trained_run.RunResult`: a run after training, with its measurements; `TrainedRun`: the same run
  opened, with its model, codes and samples.
- `metrics`: what can be measured, one module per family; their docstrings list all ids.
- `measurement.Measurement`: a number with id, standard error, counts, settings and provenance.
- `measure`: takes what is missing of a run and stores it in ``evaluation.json``.
- `cluster`, `cluster_runs`: the same as tasks of Ray.
- `table`, `figures`: tables and figures of measured runs.
- `compare`, `sweep`, `evaluate`: the three experiments of the command line.

From a plan to a table::

    planned = plan_methods({m: resolve("mnist-mini", None, {"method": m}) for m in METHODS}, [0, 1])
    results = train_runs(planned, prepare(planned, folder), command="...")
    metrics, settings = choose(["moments", "frechet"]), EvaluationSettings(split="test")
    results = [evaluate_run(one, metrics, settings, command="...") for one in results]
    table = tabulate(group_by_column(results, pool_seeds=True), "title")

Measurements are looked up by id, never by the name that people see::

    results[0].value("moments.mean_abs_correlation.mean")
    results[0].measurement("frechet.normal", features="pixels").standard_error
"""
