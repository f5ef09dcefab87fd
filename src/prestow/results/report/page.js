"use strict";
(() => {
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const value = (cell) => cell.dataset.v ?? cell.textContent.trim();

  function sort(table, th) {
    const head = th.parentElement, at = [...head.children].indexOf(th), body = table.tBodies[0];
    const first = th.classList.contains("n") ? "descending" : "ascending";
    const now = th.getAttribute("aria-sort");
    const order = !now ? first : now === "ascending" ? "descending" : "ascending";
    for (const other of head.children) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row, i) => [value(row.cells[at]), i, row]);
    const numbers = rows.every(([v]) => v === "" || !Number.isNaN(Number(v)));
    const empty = (v) => v === "";
    rows.sort(([a, i], [b, j]) => {
      if (empty(a) !== empty(b)) return empty(a) ? 1 : -1;
      const by = numbers ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
      return by ? sign * by : i - j;
    });
    body.append(...rows.map(([, , row]) => row));
  }

  for (const table of all("table.sortable")) {
    for (const th of all("thead th", table)) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...th.childNodes);
      button.addEventListener("click", () => sort(table, th));
      button.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(table, th); }
      });
      th.append(button);
    }
  }

  for (const input of all("input[data-for]")) {
    const target = document.getElementById(input.dataset.for);
    const items = target.tBodies ? [...target.tBodies[0].rows] : all("details", target);
    const texts = items.map((item) => item.textContent.toLowerCase());
    const told = input.parentElement.querySelector("output");
    input.closest("[hidden]")?.removeAttribute("hidden");
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      items.forEach((item, i) => {
        item.hidden = !words.every((word) => texts[i].includes(word));
        shown += !item.hidden;
      });
      told.textContent = words.length ? `${shown} of ${items.length}` : "";
    };
    input.addEventListener("input", filter);
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { input.value = ""; filter(); }
    });
  }

  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const inputs = all("input[data-for]");
    const next = inputs.find((input) => input.getBoundingClientRect().top > 0) ?? inputs[0];
    if (next) { event.preventDefault(); next.focus(); }
  });

  const words = { F: "failed", L: "lost", B: "blocked", H: "held", P: "preempted", d: "declined", p: "pending", r: "reused", u: "not needed", x: "nothing planned" };
  for (const map of all(".map")) {
    const table = map.querySelector("table"), told = document.getElementById(map.dataset.told);
    const names = all("thead th", table).slice(1).map((th) => th.title || th.textContent);
    let at = null;
    const tell = (cell) => {
      if (!cell || cell.tagName !== "TD") return;
      at?.classList.remove("at");
      at = cell;
      at.classList.add("at");
      const row = cell.parentElement.cells[0];
      told.textContent = `${map.dataset.rows} ${row.title || row.textContent}, ${map.dataset.columns} ${names[cell.cellIndex - 1]}: ${words[cell.className.split(" ")[0]] ?? "made"}`;
    };
    map.addEventListener("mouseover", (event) => tell(event.target.closest("td")));
    map.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      const rows = table.tBodies[0].rows;
      const y = at ? at.parentElement.sectionRowIndex + step[0] : 0, x = at ? at.cellIndex + step[1] : 1;
      const cell = rows[y]?.cells[x];
      tell(cell);
      cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
  }

  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const one of closed) one.open = true;
  });
  window.addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
})();
