"""Pictures, tables and one HTML page, from arrays and numbers; knows nothing of models.

Import what is needed from its modules: those that draw figures load matplotlib; `methods`,
`pixels`, `tables` and `page` do not.
"""
