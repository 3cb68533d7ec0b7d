"use strict";
// Everything here adds to a page that is complete without it: sorting, filtering, details, a theme.

const tip = document.getElementById("tip");
const notice = document.getElementById("status");
const tables = [...document.querySelectorAll("table")];

function said(text) {
  if (notice) notice.textContent = text;
}

// Sorting: rows move, and what was not measured stays last whatever the direction.
function sortBy(table, heading, direction) {
  const body = table.tBodies[0];
  const place = heading.cellIndex;
  const sign = direction === "ascending" ? 1 : -1;
  const key = (row) => {
    const cell = row.cells[place];
    if (cell.tagName === "TH") return cell.textContent;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compared = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
  };
  const rows = [...body.rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => compared(a, b));
  body.append(...rows.map(([, row]) => row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
}

function makeSortable(table) {
  for (const heading of table.tHead.rows[0].querySelectorAll("th:not(.plain)")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const first = heading.dataset.better === "higher" ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const direction = heading.getAttribute("aria-sort") === first ? second : first;
      sortBy(table, heading, direction);
      said(`sorted by ${button.textContent.trim()}, ${direction}`);
    });
  }
}

// Details: on hover, on focus and on touch; one cell of a table is in the order of Tab, arrows move on.
let hiding = 0;

function show(place) {
  clearTimeout(hiding);
  const text = place.dataset.detail;
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const at = place.getBoundingClientRect();
  const below = at.bottom + tip.offsetHeight + 12 < innerHeight;
  tip.style.top = `${below ? at.bottom + 6 : Math.max(4, at.top - tip.offsetHeight - 6)}px`;
  tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - tip.offsetWidth - 8))}px`;
}

function hide() {
  clearTimeout(hiding);
  tip.hidden = true;
}

function hideSoon() {
  clearTimeout(hiding);
  hiding = setTimeout(hide, 200);
}

function makeDetailed(table) {
  for (const place of table.querySelectorAll("[data-detail]")) {
    place.addEventListener("pointerenter", () => show(place));
    place.addEventListener("pointerleave", hideSoon);
    place.addEventListener("focusin", () => {
      document.activeElement.setAttribute("aria-describedby", "tip");
      show(place);
    });
    place.addEventListener("focusout", hide);
  }
}

function makeWalkable(table) {
  const cells = [...table.tBodies[0].querySelectorAll("td:not(.plain)")];
  const reach = (cell) => {
    for (const other of cells) other.tabIndex = -1;
    cell.tabIndex = 0;
  };
  if (cells.length) reach(cells[0]);
  table.tBodies[0].addEventListener("focusin", (event) => {
    if (cells.includes(event.target)) reach(event.target);
  });
  table.tBodies[0].addEventListener("keydown", (event) => {
    const cell = event.target;
    if (!cells.includes(cell)) return;
    const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
    const row = rows.indexOf(cell.parentElement);
    const next = {
      ArrowLeft: cell.previousElementSibling,
      ArrowRight: cell.nextElementSibling,
      ArrowUp: rows[row - 1]?.cells[cell.cellIndex],
      ArrowDown: rows[row + 1]?.cells[cell.cellIndex],
    }[event.key];
    if (!next || !cells.includes(next)) return;
    event.preventDefault();
    next.focus();
  });
}

// Filtering: every word must be in the method's name; a table without such a row goes.
function filterRows() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const title = document.getElementById("group")?.value ?? "";
  let shown = 0;
  let all = 0;
  for (const table of tables) {
    const group = table.closest(".group");
    const wanted = !title || group.dataset.title === title;
    let found = 0;
    for (const row of table.tBodies[0].rows) {
      const name = row.cells[0].textContent.toLowerCase();
      row.hidden = !words.every((word) => name.includes(word));
      found += !row.hidden;
      all += 1;
    }
    group.hidden = !wanted || !found;
    if (wanted) shown += found;
    const reachable = table.querySelector('tbody td[tabindex="0"]');
    const visible = table.querySelector("tbody tr:not([hidden]) td:not(.plain)");
    if (reachable?.parentElement.hidden && visible) {
      reachable.tabIndex = -1;
      visible.tabIndex = 0;
    }
  }
  said(shown ? `${shown} of ${all} rows` : "no row matches");
}

function startTools() {
  const tools = document.querySelector(".tools");
  if (!tools) return;
  tools.hidden = false;
  tools.addEventListener("input", filterRows);
  tools.addEventListener("submit", (event) => event.preventDefault());
}

// Theme: the system's unless chosen; a browser that keeps nothing for a page forgets the choice.
function startTheme() {
  const choice = document.getElementById("theme");
  const root = document.documentElement;
  const set = (theme) => {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  choice.parentElement.hidden = false;
  try {
    choice.value = localStorage.getItem("theme") ?? "";
    set(choice.value);
  } catch {
    choice.value = "";
  }
  choice.addEventListener("change", () => {
    set(choice.value);
    try {
      localStorage.setItem("theme", choice.value);
    } catch {
      // Kept for this page alone.
    }
  });
}

startTheme();
startTools();
for (const table of tables) {
  makeSortable(table);
  makeDetailed(table);
  makeWalkable(table);
}
tip.addEventListener("pointerenter", () => clearTimeout(hiding));
tip.addEventListener("pointerleave", hideSoon);
function follow() {
  const place = document.activeElement.closest("[data-detail]");
  if (place && !tip.hidden) show(place);
  else hide();
}
addEventListener("scroll", follow, { capture: true, passive: true });
addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
});
