"""``hebae explore``: the codes of trained models, and what their decoders make of them, in a page.

`runs` and `views` compute what is shown, without a user interface. `page` shows it, and `server`
starts it; both need NiceGUI, which is imported only there.
"""
