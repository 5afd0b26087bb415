"""Hooks of MkDocs for the documentation site (``mkdocs.yml``).

- Pages outside ``docs``, such as README and CHANGELOG, become pages of the site.
- Pages that do not exist are left out of the navigation if they are in `OPTIONAL`.
- Lists and tables may follow a paragraph without an empty line, as on GitHub, and comments that
  mark numbers may begin a line.
- Formulas between dollars become MathML, in the font STIX Two Math that ziamath has.
- Short code and ranges such as "[0.1, 0.2]" are not broken into lines; long cells are wide.
- The estimators, which are generated when hebae is imported, are documented as they are then.
- A page that loads anything from another server is an error.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

import griffe
import ziamath
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "license.md",
    "CITATION.cff": "citation.md",
    "benchmarks/README.md": "results/speed/benchmarks.md",
    "src/hebae/data/mnist_mini/LICENSE.md": "mnist-licence.md",
}
"""Files outside ``docs``, and their places on the site."""
OPTIONAL = ("reliability.md",)

_LINK = re.compile(r"(!?\[[^]]*\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
_FENCE = re.compile(r"\s*(```|~~~)")
_NUMBER = re.compile(r"<!-- number: [^>]*-->(.*?)<!-- /number -->")
_LIST = re.compile(r"([-*+]|\d+\.) ")
_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</(?:span|div)>', re.DOTALL
)
_FUNCTION = re.compile(
    r"(?<!<msub>)(?<!<msup>)(?<!<msubsup>)(?<!<munder>)"
    r"<m([io])>([a-z]{2,})</m\1>(?=<m\w+[^>]*>([^<]*))"
)
"""The name of a function, such as log, and what follows it."""
_BAR = re.compile(r"<mo\b[^>]*>(&#x0007C;|&#x02016;|\|)</mo>")
_SIGN = re.compile(r"((?:\[|\(|&#x0005B;|&#x00028;|&#x0003D;)</mo>)<mo>&#x02212;")
_JOINT = re.compile(r"^(\w+(?:, \w+)+) : (.*)\n((?: +.*\n)*)", re.MULTILINE)
_CODE = re.compile(r"(?<!<pre>)(?<!</span>)<code>([^<\n]{1,32})</code>")
_LONG_CODE = re.compile(r"(?<!<pre>)(?<!</span>)<code>[^<\n]{33,}</code>")
_FLAG = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*")
_WIDE = 24
"""Letters of a formula in a line from which it may be wider than a phone."""
_CELL = re.compile(r"<td(?![^>]*class)([^>]*)>(.*?)</td>", re.DOTALL)
_RANGE = re.compile(r"[\[(][-−\d.,e]+?(?:,| to) [-−\d.,e]+[\])]")
_FOREIGN = re.compile(
    r"<(?:script|img|iframe|source|link(?= [^>]*rel=\"?(?:stylesheet|icon|preload)))\b"
    r"[^>]*?(?:src|href)=\"?(?:https?:)?//[^\s\">]+",
)


class GeneratedEstimators(griffe.Extension):
    """The rest of the package is read without importing it; the estimators exist only then."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Put the classes as they are after the import in place of what the file shows."""
        if pkg.name == "hebae":
            from hebae.estimator import ESTIMATORS

            imported = griffe.inspect("hebae.estimator")
            for name in ("Estimator", *(cls.__name__ for cls in ESTIMATORS.values())):
                pkg["estimator"].set_member(name, imported[name])
            _separate_parameters(pkg)


def _separate_parameters(item: griffe.Object) -> None:
    """Give each of "a, b : int" an entry: griffe shows the default of a for both."""
    if item.docstring:
        item.docstring.value = _JOINT.sub(
            lambda m: "".join(f"{name} : {m[2]}\n{m[3]}" for name in m[1].split(", ")),
            item.docstring.value + "\n",
        )
    for member in item.members.values():
        if isinstance(member, griffe.Object):
            _separate_parameters(member)


def on_config(config: MkDocsConfig) -> None:
    """Leave optional pages that do not exist out of the navigation."""

    def keep(item: Any) -> bool:
        path = next(iter(item.values())) if isinstance(item, dict) else item
        return path not in OPTIONAL or (Path(config.docs_dir) / path).exists()

    config.nav = [item for item in config.nav or [] if keep(item)]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages from outside ``docs``."""
    for source, place in OUTSIDE.items():
        path = ROOT / source
        if path.exists():
            text = path.read_text(encoding="utf-8")
            if path.suffix != ".md":
                text = f"# {path.name}\n```\n{text}```\n"
            files.append(File.generated(config, place, content=_moved(text, source, place)))
    font = Path(ziamath.__file__).with_name("fonts") / "STIXTwoMath-Regular.ttf"
    files.append(File.generated(config, "assets/math.ttf", abs_src_path=str(font)))
    script = ROOT / "src" / "hebae" / "report" / "tables.js"  # as in the reports
    files.append(File.generated(config, "assets/tables.js", abs_src_path=str(script)))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point links at the pages from outside ``docs``; separate lists and tables.

    Markdown takes a comment at the start of a line for a block, and would begin a paragraph there.
    """
    place = page.file.src_uri
    if place not in OUTSIDE.values():
        markdown = _moved(markdown, f"docs/{place}", place)
    return separated(_NUMBER.sub(r"\1", markdown))


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Make MathML of the formulas; mark what is not to be broken into lines."""

    def formula(match: re.Match[str]) -> str:
        tag, bracket, latex = match.groups()
        display = "block" if bracket == "[" else "inline"
        try:
            mathml = convert(unescape(latex), display=display)
        except Exception as error:
            raise PluginError(f"{page.file.src_uri}: cannot read {latex!r}: {error!r}") from error
        mathml = _FUNCTION.sub(_spaced, mathml)
        mathml = _BAR.sub(r"<mo stretchy=false lspace=0 rspace=0>\1</mo>", mathml)
        mathml = _SIGN.sub(r"\1<mo form=prefix>&#x02212;", mathml)
        wide = len(re.sub(r"<[^>]*>", "", mathml)) > _WIDE
        return f'<{tag} class="formula{" wide" if wide else ""}">{mathml}</{tag}>'

    html = _CODE.sub(r'<code class="whole">\1</code>', html)
    html = _LONG_CODE.sub(
        lambda code: _FLAG.sub(r'<span class="whole">\g<0></span>', code[0]), html
    )
    return _CELL.sub(_cell, _FORMULA.sub(formula, html))


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Refuse scripts, styles and pictures from other servers."""
    foreign = _FOREIGN.search(output)
    if foreign:
        raise PluginError(f"{page.file.src_uri} loads from another server: {foreign[0]}")
    return output


def _cell(match: re.Match[str]) -> str:
    """Keep the ranges in a cell whole, and give a long text a width to be read at."""
    attributes, text = match.groups()
    is_long = len(re.sub(r"<[^>]*>", "", text)) > 60
    text = _RANGE.sub(r'<span class="whole">\g<0></span>', text)
    return f"<td{attributes}{' class=prose' if is_long else ''}>{text}</td>"


def _spaced(match: re.Match[str]) -> str:
    """Set a function's name off from a factor before it, and from an argument without brackets."""
    _, name, following = match.groups()
    space = '<mspace width="0.17em"/>'
    factor = match.string[: match.start()].endswith(("</mi>", "</mn>", "</msub>", "</msup>"))
    bracket = unescape(following) in ("(", "[", ",", ")")
    return f"{space if factor else ''}<mi>{name}</mi>{'' if bracket else space}"


def _moved(markdown: str, source: str, place: str) -> str:
    """Rewrite the relative links of a file of the repository for its place on the site."""
    folder, here = PurePosixPath(source).parent, PurePosixPath(place).parent

    def target(match: re.Match[str]) -> str:
        begin, link, end = match.groups()
        path = normpath(folder / link)
        new = OUTSIDE.get(path, path.removeprefix("docs/"))
        return begin + relpath(new, here) + end

    return _LINK.sub(target, markdown)


def separated(markdown: str) -> str:
    """Return `markdown` with an empty line before each list or table that follows a paragraph."""
    lines: list[str] = []
    fence = False
    for line in markdown.splitlines():
        before = lines[-1] if lines else ""
        if _FENCE.match(line):
            fence = not fence
        elif not fence and before.strip():
            starts_list = _LIST.match(line) and not _LIST.match(before) and before[:1] != " "
            starts_table = line.startswith("|") and not before.startswith(("|", "<!--"))
            if starts_list or starts_table:
                lines.append("")
        lines.append(line)
    return "\n".join(lines) + "\n"
