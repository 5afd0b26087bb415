// Sortable tables. Where a row is a run, a click on a column's heading sorts the rows; where a row is
// a metric (data-sort="columns", or arrows in the headings of rows alone, for "higher is better"), a
// click on its heading sorts the columns. A cell counts by its data-value or by the number that it
// begins with: "5.10 [5.05, 5.11]" is 5.10, "k = 20" is 20, "0.1: 3.5" is 3.5. Cells without a number come last.
"use strict";

function sortKey(cell) {
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const match = cell.textContent.replace(/[,\u2009]/g, "").replace(/\u2212/g, "-").match(/^\s*(?:[^\s=:]+ ?[=:])?\s*[<>≤≥≈]?\s*([+-]?\d+(\.\d+)?(e[+-]?\d+)?)/i);
  return match ? Number(match[1]) : NaN;
}

// The order of some cells: by number if most have one, otherwise by text.
function orderOf(cells, ascending) {
  const keys = cells.map(sortKey);
  const byNumber = keys.filter((key) => !Number.isNaN(key)).length > cells.length / 2;
  const sign = ascending ? 1 : -1;
  return [...cells.keys()].sort((i, j) => {
    if (!byNumber) return sign * cells[i].textContent.localeCompare(cells[j].textContent, "en", { numeric: true });
    if (Number.isNaN(keys[i]) || Number.isNaN(keys[j])) return Number.isNaN(keys[i]) - Number.isNaN(keys[j]);
    return sign * (keys[i] - keys[j]);
  });
}

function addButton(heading, headings, what, sort) {
  if (!heading.textContent.trim()) return; // the corner
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  button.title = `Sort by this ${what}`;
  heading.append(button);
  if (heading.tagName === "TD") heading.setAttribute("role", "rowheader"); // of Markdown
  heading.setAttribute("aria-sort", "none");
  button.addEventListener("click", () => {
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    headings.forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    sort(ascending);
  });
}

function makeSortable(table) {
  const body = table.tBodies[0];
  if (!body || !table.tHead) return;
  const rows = [...body.rows];
  const top = [...table.tHead.rows[0].cells];
  const arrow = (cell) => /[↑↓]/.test(cell.textContent);
  const hasMetricsInRows = rows.some((row) => arrow(row.cells[0])) && !top.some(arrow);
  if (table.dataset.sort === "columns" || hasMetricsInRows) {
    if (top.length < 3) return;
    const sortable = rows.filter((row) => row.cells.length === top.length);
    const headings = sortable.map((row) => row.cells[0]);
    sortable.forEach((row) => addButton(row.cells[0], headings, "row", (ascending) => {
      const order = orderOf([...row.cells].slice(1), ascending);
      [table.tHead.rows[0], ...sortable].forEach((other) => {
        const cells = [...other.cells].slice(1);
        other.append(...order.map((i) => cells[i]));
      });
    }));
    return;
  }
  const isNumeric = (column) => rows.filter((row) => !Number.isNaN(sortKey(row.cells[column]))).length > rows.length / 2;
  if (rows.length < 3 || rows.some((row) => row.cells.length !== top.length) || !top.some((_, column) => isNumeric(column))) return;
  top.forEach((heading, column) => addButton(heading, top, "column", (ascending) => {
    const now = [...body.rows];
    body.append(...orderOf(now.map((row) => row.cells[column]), ascending).map((i) => now[i]));
  }));
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("table.sortable, .md-typeset table:not(.highlighttable)").forEach(makeSortable);
});
