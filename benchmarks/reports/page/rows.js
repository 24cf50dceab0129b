/* The table sorts by a click on a title, or with the keyboard on it. */

{
  const table = at("rows");
  const heads = table ? [...table.querySelectorAll("th[data-key]")] : [];

  const compare = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
    if (Array.isArray(a)) return a[0] - b[0] || a[1] - b[1];
    return a - b;
  };

  const sort = (column, direction) => {
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((line) => [JSON.parse(line.cells[column].dataset.value), line]);
    keyed.sort(([a, first], [b, second]) => {
      const known = (a === null) - (b === null); // what is not known stays below
      return known || (a === null ? 0 : direction * compare(a, b)) || first.dataset.row - second.dataset.row;
    });
    body.append(...keyed.map(([, line]) => line));
  };

  for (const [column, head] of heads.entries()) {
    head.querySelector("button").addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      // Numbers begin with the largest, names with the first.
      const first = head.classList.contains("text") ? "ascending" : "descending";
      const other = first === "ascending" ? "descending" : "ascending";
      const now = before === first ? other : first;
      for (const one of heads) one.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", now);
      sort(column, now === "ascending" ? 1 : -1);
      at("sorted").textContent = `Sorted by ${head.textContent}, ${now}.`;
    });
  }
}
