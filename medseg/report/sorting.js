// Tables whose rows are cases: a button in each heading sorts by it, the other way round when pressed again.
function sortKey(row, column) {
  const text = row.cells[column].textContent.trim(), value = text === "∞" ? Infinity : parseFloat(text);
  return column && !Number.isNaN(value) ? value : text;
}

function compare(a, b) {
  if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  return typeof a === "number" ? -1 : 1;
}

function startSorting() {
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const way = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", way);
        const rows = [...table.tBodies[0].rows].sort((a, b) => compare(sortKey(a, column), sortKey(b, column)));
        table.tBodies[0].append(...(way === "ascending" ? rows : rows.reverse()));
      });
    });
  }
}
