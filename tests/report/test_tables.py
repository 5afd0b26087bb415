"""Tables in each of their notations."""

import csv
import io
import json
import math
import re

import numpy as np
import pytest
from rich.console import Console

from hebae.errors import HebaeError
from hebae.report.tables import Measured, Row, Table, Undefined, to_csv

NO_DENSITY = "q(z|x) has no density"


def table():
    return Table(
        "Held-out digits",
        ["HEBAE", "VAE", "WAE-MMD"],
        [
            Row("ELBO", [-206.04, [-114.0, -116.0, -115.0], Undefined(NO_DENSITY)], "nats", ".1f"),
            Row("Fréchet distance", [math.nan, None, 30.25], format=".2f", better="lower"),
            Row("rate |z|", [[1.0, None, 3.0], [2.0], "words [sic]"], format=".1f"),
        ],
        ["One seed but for VAE."],
    )


def test_cells_show_value_median_and_range_or_why_there_is_none():
    assert table().cells() == [
        ["-206.0", "-115.0 [-116.0, -114.0]", "undefined¹"],
        ["undefined²", "–³", "30.25"],
        ["2.0 [1.0, 3.0]⁴", "2.0", "words [sic]"],
    ]
    assert table().footnotes() == [
        f"¹ {NO_DENSITY}",
        "² not a finite number",
        "³ not measured",
        "⁴ 2 of 3 seeds",
        "One seed but for VAE.",
    ]


@pytest.mark.parametrize(
    ("values", "cell"),
    [
        (np.array([1.0, 4.0, 2.0]), "2.0 [1.0, 4.0]"),
        ([None, None], "–¹"),
        ([math.inf, None], "undefined¹"),
        (np.float32(2.5), "2.5"),
        (7, "7.0"),
        (Measured(-102.71, 0.414), "-102.7 ± 0.41"),
        (Measured(math.nan, 1.0), "undefined¹"),
    ],
)
def test_kinds_of_values(values, cell):
    made = Table("", ["a"], [Row("x", [values], format=".1f")])
    assert made.cells() == [[cell]]
    known = {"value": -102.71, "standard_error": 0.414} if "±" in cell else {}
    assert made.records()[0].items() >= known.items()


def test_csv_and_json_keep_every_figure():
    rows = list(csv.DictReader(io.StringIO(to_csv(table().records()))))
    records = json.loads(json.dumps(table().records(), allow_nan=False))
    assert len(rows) == len(records) == 9
    for row, record in zip(rows, records, strict=True):
        assert row == {key: "" if v is None else str(v) for key, v in record.items()}
    known = {"quantity": "ELBO", "unit": "nats", "column": "HEBAE", "value": -206.04}
    assert records[0].items() >= known.items()
    assert float(rows[0]["value"]) == -206.04
    over_seeds = {"value": -115.0, "minimum": -116.0, "maximum": -114.0, "seeds": 3, "note": ""}
    assert records[1].items() >= over_seeds.items()
    assert records[2].items() >= {"value": None, "note": NO_DENSITY}.items()
    assert records[6].items() >= {"value": 2.0, "seeds": 2, "note": "2 of 3 seeds"}.items()


def test_markdown_is_a_table_of_as_many_columns():
    text = table().to_markdown()
    title, body, notes = text.strip().split("\n\n")
    assert title == "**Held-out digits**"
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in body.splitlines()]
    assert {len(line) for line in lines} == {4}
    assert [cell.strip() for cell in lines[0]] == ["", "HEBAE", "VAE", "WAE-MMD"]
    assert [cell.strip() for cell in lines[1]] == [":--", "--:", "--:", "--:"]
    read = [[cell.strip().replace("\\", "") for cell in line] for line in lines[2:]]
    assert [line[1:] for line in read] == table().cells()
    assert [line[0] for line in read] == ["ELBO (nats)", "Fréchet distance ↓", "rate |z|"]
    assert notes.count("  \n") == 4


def test_markdown_does_not_let_a_name_out_of_its_cell():
    made = Table("", ["a|b\nc", "<b>*x*</b>"], [Row("`n`", [1.0, 2.0])])
    assert made.to_markdown().splitlines() == [
        r"|  | a\|b c | \<b>\*x\*\</b> |",
        "| :-- | --: | --: |",
        r"| \`n\` | 1 | 2 |",
    ]


def printed(made, width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(made)
    return console.file.getvalue().splitlines()


def test_a_row_that_does_not_fit_is_refused():
    with pytest.raises(HebaeError, match="ELBO has 2 values for 3 columns"):
        Table("", ["a", "b", "c"], [Row("ELBO", [1.0, 2.0])])


def sectioned():
    rows = [
        Row("ELBO", [1.0, 2.0], section="Bounds", best=(1,)),
        Row("IWAE", [3.0, 4.0], section="Bounds"),
        Row("KID", [5.0, 6.0], section="Samples", best=(0, 1)),
    ]
    return Table("", ["a", "b"], rows)


def test_a_section_is_named_once_and_the_best_is_bold():
    assert sectioned().to_markdown().splitlines()[2:] == [
        "| **Bounds** | | |",
        "| ELBO | 1 | **2** |",
        "| IWAE | 3 | 4 |",
        "| **Samples** | | |",
        "| KID | **5** | **6** |",
    ]
    assert [record["section"] for record in sectioned().records()] == [
        *["Bounds"] * 4,
        *["Samples"] * 2,
    ]


@pytest.mark.parametrize("width", [40, 60, 100])
def test_on_a_narrow_terminal_nothing_is_cut_off(width):
    """Columns that do not fit beside the others go below them."""
    columns = [f"runs/[red]-with-a-long-name-{i}" for i in range(9)]
    rows = [Row(f"a long name of quantity {i}", [i + j / 10 for j in range(9)]) for i in range(3)]
    lines = printed(Table("A [bold] title", columns, rows, ["A note."]), width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    letters = "".join(char for line in lines for char in line if not char.isspace())
    assert "[red]" in letters  # and not taken for markup
    numbers = sorted(re.findall(r"(?<![\d.])\d\.\d(?!\d)", "\n".join(lines)))
    assert numbers == sorted(f"{i + j / 10:.4g}" for i in range(3) for j in range(9) if j)
    assert letters.count("Anote.") == letters.count("A[bold]title") == 1


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "λ ↑ ± –¹⁴ é ☃"),
        ("cp1252", "lambda (higher is better) ± –¹[4] é ?"),
        ("ascii", "lambda (higher is better) +/- -[1][4] e ?"),
    ],
)
def test_a_table_can_be_shown_in_any_encoding(encoding, shown):
    """Signs that an encoding lacks are replaced by words or signs that it has."""
    assert "λ ↑ ± –¹⁴ é ☃".encode(encoding, "hebae.replacement").decode(encoding) == shown
    raw = io.BytesIO()
    console = Console(width=80, file=io.TextIOWrapper(raw, encoding=encoding), color_system=None)
    rows = [Row("λ", [[1.0, 2.0], None], "", better="lower")]
    console.print(Table("β", ["a", "b"], rows))
    console.file.flush()
    text = raw.getvalue().decode(encoding)
    assert ("↓" in text) == (encoding == "utf-8")
    assert ("lower is better" in " ".join(text.split())) == (encoding != "utf-8")
