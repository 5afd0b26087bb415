"""``hebae reproduce``: plan, train, measure, conclude; what every study has in common.

A study says which runs it takes, what is measured of them, and what follows: see
``hebae.experiments.studies`` for how one is written.

- ``plan``, ``budgets``: the runs, named by their settings, so that studies share them;
- ``claiming``: machines that share a folder share the work;
- ``training``, ``measuring``: whatever is missing is made up, whatever is there is kept;
- ``study``, ``claims``: what a study is given and gives; claims of the common forms;
- ``grids``, ``codes``: what several studies make of runs over k and lambda, and of latent codes;
- ``output``, ``pages``: JSON, CSV, figures, and the page "what the paper says, what we found",
  which is written from the JSON alone;
- ``reproduce``: all of it, in order.
"""
