// Tables with numbers are sorted by a click on a heading. A cell counts by its first number:
// "5.10 [5.05, 5.11]" is 5.10, "3 min" is 3. Cells without a number come last.
"use strict";

function sortKey(cell) {
  const match = cell.textContent.replace(/[,\u2009]/g, "").replace(/\u2212/g, "-").match(/-?\d+(\.\d+)?(e[+-]?\d+)?/i);
  return match ? Number(match[0]) : NaN;
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const rows = body ? [...body.rows] : [];
  const numeric = (column) => rows.filter((row) => !Number.isNaN(sortKey(row.cells[column]))).length > rows.length / 2;
  if (rows.length < 3 || !table.tHead) return;
  const headings = [...table.tHead.rows[0].cells];
  if (!headings.some((_, column) => numeric(column))) return;
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    button.title = "Sort by this column";
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const sign = ascending ? 1 : -1;
      const byNumber = numeric(column);
      const compare = (a, b) => {
        if (!byNumber) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
        const [x, y] = [sortKey(a.cells[column]), sortKey(b.cells[column])];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return sign * (x - y);
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".md-typeset table:not(.highlighttable)").forEach(makeSortable);
});
