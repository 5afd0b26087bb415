"""The documentation site: its examples run, and every public name has one."""

import doctest
import inspect
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import hebae

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "api").glob("*.md"))
PARSER = doctest.DocTestParser()


def text(page):
    return page.read_text(encoding="utf-8")


def public_names(module):
    """The names of ``__all__``, otherwise what is defined there."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return [name for name in names if not isinstance(getattr(module, name), ModuleType)]


MODULES = {name: getattr(hebae, name) for name in hebae._SUBMODULES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_reference_page_run(page):
    """One session per page. Examples of packages that are missing here are skipped."""
    if page.stem == "priors":
        pytest.importorskip("zuko")
    examples = PARSER.get_doctest(text(page).replace("```\n", "\n"), {}, page.stem, str(page), 0)
    failures = []
    doctest.DocTestRunner(verbose=False).run(examples, out=failures.append)
    assert not failures, "".join(failures)


def test_every_public_name_has_an_example():
    """In its docstring, or on a page of the reference: there in the code or its output."""
    shown = ""
    for page in PAGES:
        for example in PARSER.get_examples(text(page).replace("```\n", "\n")):
            shown += example.source + example.want
    words = set(re.findall(r"\w+", shown))
    missing = [
        f"hebae.{name}"
        for name in hebae.__all__
        if name not in (*MODULES, *words, "__version__")
        and ">>> " not in (inspect.getdoc(getattr(hebae, name)) or "")
    ]
    for module in MODULES.values():
        missing += [
            f"{module.__name__}.{name}"
            for name in public_names(module)
            if name not in words and ">>> " not in (inspect.getdoc(getattr(module, name)) or "")
        ]
    assert not missing, f"add an example to docs/api for {', '.join(missing)}"


def test_every_name_of_the_metrics_has_an_entry():
    page = text(ROOT / "docs" / "api" / "evaluation.md")
    entries = set(re.findall(r"^::: hebae\.evaluation\.(\w+)", page, re.MULTILINE))
    assert entries == set(hebae.evaluation.__all__)


def test_the_code_of_hebae_beside_that_of_other_packages_runs(tmp_path, monkeypatch):
    anndata = pytest.importorskip("anndata")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    adata = anndata.AnnData(csr_matrix(rng.poisson(1.0, (60, 8)).astype(np.int32)))
    adata.obs["batch"] = ["a", "b"] * 30
    known = {"X": rng.normal(size=(60, 5)), "digits": rng.random((60, 1, 28, 28)), "adata": adata}
    blocks = re.findall(
        r"```python\n(# hebae\n.*?)```", text(ROOT / "docs" / "coming-from.md"), re.DOTALL
    )
    for block in blocks:
        exec(re.sub(r"epochs=\d+", "epochs=1", block), variables := dict(known))
        assert variables["model"].history_
    assert len(blocks) == 4
    assert adata.obsm["X_hebae"].shape == (60, 10)


def test_a_number_from_a_json_file_does_not_begin_a_paragraph(tool):
    """Markdown takes a comment at the start of a line for a block of its own."""
    pytest.importorskip("mkdocs")
    page = SimpleNamespace(file=SimpleNamespace(src_uri="how-to.md"))
    marked = "log p(x) is\n<!-- number: prior target value .1f -->2.9<!-- /number --> nats\n"
    assert tool("site").on_page_markdown(marked, page) == "log p(x) is\n2.9 nats\n"


def test_a_formula_in_a_cell_is_left_as_it_is(tool):
    pytest.importorskip("mkdocs")
    page = SimpleNamespace(file=SimpleNamespace(src_uri="mathematics.md"))
    formula = r'<span class="arithmatex">\(N(0, 1)\)</span>'
    html = tool("site").on_page_content(f"<td>{formula}</td>", page)
    assert f"<td>{tool('site').on_page_content(formula, page)}</td>" == html
    assert "whole" not in html


def test_ranges_and_short_code_are_not_broken_into_lines(tool):
    pytest.importorskip("mkdocs")
    page = SimpleNamespace(file=SimpleNamespace(src_uri="how-to.md"))
    cell = "<td>5.10 [5.05, 5.11], -1 (-2 to -0.5)</td>"
    html = tool("site").on_page_content(f"<p><code>--seed 3</code></p>{cell}", page)
    assert '<code class="whole">--seed 3</code>' in html
    assert html.count('<span class="whole">') == 2 and '<span class="whole">[5.05, 5.11]' in html
    html = tool("site").on_page_content(
        f"<code>hebae sample runs/a --count 20 --seed 3{'0' * 9}</code>", page
    )
    assert '<span class="whole">--count</span> 20' in html
    block = "<pre><span></span><code>x</code></pre>"
    assert tool("site").on_page_content(block, page) == block
