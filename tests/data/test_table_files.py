"""Tables: what columns are taken for, and what is refused with row and column."""

import gzip
import re
import sys

import numpy as np
import pytest

from hebae import data
from hebae.data.examples import Examples
from hebae.data.writing import write_examples
from hebae.errors import HebaeError, MissingPackage

pd = pytest.importorskip("pandas")
N = 60
RNG = np.random.default_rng(0)
MIXED = pd.DataFrame(
    {
        "size": np.arange(N) / 7,
        "weight": np.arange(100, 100 + N),
        "rooms": np.arange(N) % 5,
        "town": np.array(["Ghent", "Lier", "Mol"])[np.arange(N) % 3],
        "sold": np.arange(N) % 2 == 0,
        "since": np.datetime64("2001-02-03") + np.arange(N),
        "country": "Belgium",
        "fires": np.maximum(np.arange(N) - 35, 0),
        "lift": np.arange(N) % 2 / 1,
    }
)
KINDS = {
    "size": ("number", "float", 0),
    "weight": ("number", "int", 0),
    "rooms": ("category", "int", 5),
    "town": ("category", "text", 3),
    "sold": ("binary", "bool", 2),
    "since": ("number", "date", 0),
    "country": ("category", "text", 1),
    "fires": ("count", "int", 0),
    "lift": ("binary", "float", 2),
}


def load(table, **options):
    return data.load(table, validation_size=0, **options).train


def with_gaps():
    frame = MIXED.astype({"weight": float, "sold": object})
    for row, column in enumerate(frame):
        frame.loc[3 * row, column] = None
    return frame


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet"])
def test_each_column_has_the_kind_of_the_rule(tmp_path, suffix):
    path = tmp_path / f"houses{suffix}"
    if suffix == ".parquet":
        MIXED.to_parquet(path)
    else:
        MIXED.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    for table in (path, MIXED):
        examples = load(table)
        found = {c.name: (c.kind, c.dtype, len(c.categories)) for c in examples.columns}
        assert found == KINDS
        assert examples.feature_names == tuple(MIXED)
        assert examples.missing is None
    assert np.array_equal(examples.values[:, 3], np.arange(N) % 3)
    assert examples.values[0, 5] == np.datetime64("2001-02-03").astype(int)  # days since 1970


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_comes_back_from_its_examples(tmp_path, suffix):
    frame = with_gaps()
    path, again = tmp_path / "houses.csv", tmp_path / f"again{suffix}"
    frame.to_csv(path, index=False)
    examples = load(path)
    assert np.array_equal(examples.missing, frame.isna().to_numpy())
    write_examples(examples, again)
    copy = load(again, columns=examples.columns)
    assert np.array_equal(copy.missing, examples.missing)
    assert np.allclose(copy.values, examples.values)
    if suffix == ".csv":
        first = path.read_text().splitlines()[8]
        assert (
            again.read_text().splitlines()[8].split(",")[1:]
            == first.replace(".0", "").split(",")[1:]
        )


def test_a_table_of_numbers_is_a_matrix():
    frame = pd.DataFrame({"a": [1.5, None, 3], "b": pd.array([1, 2, None], dtype="Int64")})
    examples = load(frame)
    assert examples.columns is None
    assert np.array_equal(examples.missing, [[0, 0], [1, 0], [0, 1]])
    assert examples.values[0, 0] == 1.5
    gaps = pd.DataFrame(np.array([[1, np.nan], [2, 3]], np.float32))
    assert load(gaps).missing.sum() == 1
    assert gaps.isna().to_numpy().sum() == 1  # the frame stays as it is
    grey = load(pd.DataFrame(np.full((4, 3), 200, np.uint8)))
    assert grey.values.dtype == np.uint8
    assert load(pd.DataFrame({"a": [True, False]})).values.tolist() == [[1], [0]]
    kinds = load(frame.fillna(0), column_kinds=("b=count", "a=number")).columns
    assert [c.kind for c in kinds] == ["number", "count"]


def test_ids_and_labels_are_no_features(tmp_path):
    path = tmp_path / "x.csv"
    frame = pd.DataFrame({"a": [1.0, 2, 3], "kind": ["v", "u", "v"]}, index=["p", "q", "r"])
    frame.to_csv(path)  # the first column has no name
    frame.rename_axis("ID").to_csv(tmp_path / "named.csv")
    for table in (path, tmp_path / "named.csv", frame):
        examples = load(table, label_column="kind")
        assert examples.ids.tolist() == ["p", "q", "r"]
        assert examples.feature_names == ("a",)
        assert (examples.labels.tolist(), examples.label_names) == ([1, 0, 1], ("u", "v"))
    polars = pytest.importorskip("polars")
    examples = load(polars.from_pandas(frame.reset_index()), id_column="index")
    assert examples.ids.tolist() == ["p", "q", "r"]


def test_a_file_without_header_gets_one(tmp_path):
    path = tmp_path / "adult.data.gz"
    rows = [f"{30 + i}, {'State-gov' if i % 2 else '?'}, {1000 * i}" for i in range(30)]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    dataset = data.load(path, validation_size=0)
    assert dataset.train.feature_names == ("column_1", "column_2", "column_3")
    assert dataset.train.missing[:, 1].sum() == 15
    assert "not as a header" in dataset.notes[0]
    path = tmp_path / "numbers.csv"
    pd.DataFrame(RNG.random((5, 3))).to_csv(path, index=False)  # its header is 0,1,2
    assert load(path).feature_names == ("0", "1", "2")
    path.write_text("height,nan\n1.5,2\n2.5,3\n")  # a name, and a float to Python
    assert load(path).feature_names == ("height", "nan")
    for first in ("1.5,nan", "nan,nan"):
        path.write_text(f"{first}\n1.5,2\n2.5,3\n")
        assert "not as a header" in data.load(path, validation_size=0).notes[0]


def test_a_text_in_a_column_of_dates_is_no_date():
    frame = pd.DataFrame({"day": ["2007-11-11", "2008-01-02", "2009-03-04"] * 5, "x": range(15)})
    columns = load(frame).columns
    frame.loc[7, "day"] = "sometime"
    with pytest.raises(HebaeError, match="'sometime' in row 8, column 'day', which is not a date"):
        load(frame, columns=columns)


def test_new_rows_are_coded_as_those_of_training(tmp_path):
    columns = load(MIXED).columns
    some = MIXED[MIXED["town"] != "Ghent"].iloc[:, ::-1].assign(other="x")
    examples = load(some, columns=columns)
    assert examples.feature_names == tuple(MIXED)
    assert set(examples.values[:, 3]) == {1, 2}
    matrix = MIXED[["size", "weight"]]
    again = load(matrix.iloc[:, ::-1], feature_names=("size", "weight"))
    assert np.array_equal(again.values, load(matrix).values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"town": "Aalst"},
            "holds 'Aalst' in row 1, column 'town', which is not one of the categories Ghent",
        ),
        ({"weight": "heavy"}, "holds 'heavy' in row 1, column 'weight'"),
        ({"size": np.inf}, "holds inf in row 1, column 'size'"),
    ],
)
def test_new_rows_that_are_unlike_training_are_refused(change, words):
    columns = load(MIXED).columns
    with pytest.raises(HebaeError, match=re.escape(words)):
        load(MIXED.assign(**change), columns=columns)
    with pytest.raises(HebaeError, match=r"no column 'town'.*mean 'towns'"):
        load(MIXED.rename(columns={"town": "towns"}), columns=columns)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_read_as_numbers(tmp_path, separator):
    numbers = MIXED[["size", "weight"]]
    numbers.to_csv(tmp_path / "x.csv", sep=separator, decimal=",", index=False)
    assert np.array_equal(load(tmp_path / "x.csv").array, load(numbers).array, equal_nan=True)


FREE = [f"comment {i}" for i in range(N)]


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (MIXED.assign(note=FREE), {}, "60 different texts in 60 rows of column 'note'.*Drop it"),
        (MIXED.assign(a=FREE, b=FREE), {}, "column 'a'.*cannot be read either: b"),
        (MIXED.assign(size=None), {}, "no value in column 'size': all 60 rows are empty"),
        (MIXED[["size"]].assign(weight=np.nan), {}, "no value in column 'weight'"),
        (MIXED.assign(weight=[*map(str, range(59)), "oops"]), {}, "'oops' in row 60, column 'wei"),
        (MIXED.assign(size=1j), {}, "type complex128 in column 'size'"),
        (MIXED.assign(size=[[1]] * N), {}, "a list in column 'size'"),
        (MIXED[["size"]] * 1e30, {}, "in row 2, column 'size', which is infinite or too large"),
        (MIXED, {"column_kinds": ("size=count",)}, "in row 2, column 'size', which is not a count"),
        (MIXED, {"column_kinds": ("sizes=count",)}, "no such column .did you mean 'size'"),
        (MIXED, {"column_kinds": ("size=real",)}, "'size=real' is not NAME=KIND"),
        (MIXED, {"column_kinds": ("rooms=binary",)}, "5 different values in column 'rooms'"),
        (MIXED, {"label_column": "twon"}, "--label-column names 'twon'.*mean 'town'"),
        (MIXED, {"id_column": "town"}, "rows 1 and 4 have the same id 'Ghent'"),
        (with_gaps(), {"label_column": "town"}, "column 'town' has no label in row 10"),
        (MIXED, {"layer": "counts"}, "--layer is 'counts'.*for a .h5ad file"),
        (MIXED[:0], {}, "shape .0, 9."),
        (pd.concat([MIXED, MIXED["size"]], axis=1), {}, "two columns called 'size'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_row_and_column(frame, options, words):
    with pytest.raises(HebaeError, match=words):
        load(frame, **options)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", r"cannot be read .*a table has one row"),
        ("a,b\n1,2\n3,4,5\n", r"cannot be read .*a table has one row"),
        ("a,b\n", "at least one row and one column"),
        ("a,b,a\n1,2,3\n", "^[^(]*x.csv has two columns called 'a': rename"),
        ("a,b\n" + "1,2,3,4\n" * 3, "^[^(]*2 names in its first line and 4 cells in the next"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, content, words):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(HebaeError, match=words):
        load(path)
    for name in ("x.csv.gz", "x.parquet"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(HebaeError, match="cannot be read"):
            load(tmp_path / name)


def test_without_pandas_the_message_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "x.csv").write_text("a\n1\n")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackage, match=r"pip install 'hebae\[tables\]'"):
        load(tmp_path / "x.csv")


def test_samples_of_an_array_are_numbered_columns(tmp_path):
    path = tmp_path / "x.csv"
    write_examples(Examples(np.array([[0.1, 2], [3, 4]], np.float32)), path)
    assert path.read_text() == "x0,x1\n0.1,2.0\n3.0,4.0\n"
    write_examples(Examples(np.array([[0, 2]], np.float32), pixels=False), path)
    assert path.read_text() == "x0,x1\n0,2\n"
