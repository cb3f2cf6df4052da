// Figures of the report and the explorer: drawn, described, and taken away as SVG, PNG, CSV or a table.
// The page brings window.vegaEmbed itself. A figure is an element with a place `.chart` inside.
import { element } from "./common.js";

const EMBED = { renderer: "svg", actions: false, ast: true, mode: "vega-lite" };
const PRINTED = { ink: "#1f2328", background: "#ffffff", font: "Arial, Helvetica, sans-serif" };

// Rows come by column (page.py): the names of columns, repeated in every row, were most of a page.
export function unpacked(spec) {
  const datasets = Object.entries(spec.datasets ?? {}).map(([name, columns]) => {
    const all = Object.entries(columns);
    const rows = Array.from({ length: all[0]?.[1].length ?? 0 }, (_, i) =>
      Object.fromEntries(all.map(([key, values]) => [key, values[i]])));
    return [name, rows];
  });
  return { ...spec, datasets: Object.fromEntries(datasets) };
}

function fitted(spec, width) {
  const own = structuredClone(spec);
  delete own.title; // the caption says it; a download keeps it
  if (own.facet) {
    const gap = own.spacing?.column ?? 20;
    const room = width - 64; // what stands left of the first panel, and a little right of the last
    const least = Math.min(own.spec.width, room);
    const panels = new Set(allRows(spec).map((row) => row[own.facet.field])).size || 1;
    const columns = Math.max(1, Math.min(own.columns ?? panels, panels, Math.floor((room + gap) / (least + gap))));
    own.columns = columns;
    own.spec.width = Math.min(Math.floor((room - gap * (columns - 1)) / columns), 2 * own.spec.width);
  } else {
    own.width = width;
    own.autosize = { type: "fit-x", contains: "padding" };
  }
  return own;
}

// Draw a Vega-Lite spec in a place, as wide as it; return the Vega view. Its description names the place.
export async function drawFigure(place, spec, { width = place.clientWidth, config } = {}) {
  const { view } = await vegaEmbed(place, fitted(spec, width), { ...EMBED, config });
  describeFigure(place, spec);
  return view;
}

// One image with one sentence: readers of screens find the numbers in the table, not in a hundred marks.
export function describeFigure(place, spec) {
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", spec.description ?? "");
  place.querySelector("svg")?.setAttribute("aria-hidden", "true");
}

const allRows = (spec) => spec.data?.values ?? Object.values(spec.datasets ?? {}).flat();

// The rows that are drawn, without those that only place a name beside a line.
export function figureRows(spec) {
  const drawn = allRows(spec).filter((row) => row.kind !== "label");
  const columns = spec.usermeta?.columns ?? Object.keys(drawn[0] ?? {});
  return { columns, rows: drawn.map((row) => columns.map((name) => row[name] ?? null)) };
}

export function csvText(columns, rows) {
  const quoted = (value) => {
    // As in the study's own files: spreadsheets would compute a word that begins so.
    const mark = typeof value === "string" && /^'*[=+\-@\t\r]/.test(value) ? "'" : "";
    const text = value === null || value === undefined ? "" : mark + String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

export function save(name, content, type) {
  const link = element("a", { download: name, href: URL.createObjectURL(new Blob([content], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export const fileName = (...parts) => parts.filter(Boolean).join("-").replace(/[^\p{L}\p{N}.]+/gu, "-").replace(/^-|-$/g, "");

// -- what stands under a figure -------------------------------------------------------------------

const shown = new WeakMap(); // figure -> the spec, name and config it shows now

async function printed(figure) {
  const { spec, config } = shown.get(figure);
  const inked = JSON.parse(JSON.stringify({ spec, config }).replaceAll("currentColor", PRINTED.ink));
  const look = { ...inked.config, background: PRINTED.background, font: PRINTED.font };
  return vegaEmbed(element("div"), inked.spec, { ...EMBED, config: look });
}

const SAVES = {
  SVG: async (figure, name) => {
    const { view, finalize } = await printed(figure);
    const drawn = new DOMParser().parseFromString(await view.toSVG(), "image/svg+xml").documentElement;
    const about = document.createElementNS(drawn.namespaceURI, "desc"); // Vega leaves it to the page around
    about.textContent = shown.get(figure).spec.description ?? "";
    drawn.prepend(about);
    drawn.setAttribute("role", "img");
    save(`${name}.svg`, new XMLSerializer().serializeToString(drawn), "image/svg+xml");
    finalize();
  },
  PNG: async (figure, name) => {
    const { view, finalize } = await printed(figure);
    const canvas = await view.toCanvas(3);
    save(`${name}.png`, await new Promise((done) => canvas.toBlob(done)), "image/png");
    finalize();
  },
  CSV: (figure, name) => {
    const { columns, rows } = figureRows(shown.get(figure).spec);
    save(`${name}.csv`, csvText(columns, rows), "text/csv");
  },
};

export function dataTable(columns, rows, caption) {
  const numeric = columns.map((_, i) => rows.every((row) => row[i] === null || typeof row[i] === "number"));
  const kind = (i) => (numeric[i] ? { class: "number" } : {});
  const text = (value) => (value === null ? "" : typeof value !== "number" || Number.isInteger(value) ? String(value) : value.toFixed(3));
  const head = columns.map((name, i) => element("th", { scope: "col", ...kind(i) }, name.replaceAll("_", " ")));
  const body = rows.map((row) => element("tr", {}, ...row.map((value, i) => element("td", kind(i), text(value)))));
  return element("table", {}, element("caption", {}, caption), element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
}

function showRows(figure) {
  const { spec, title } = shown.get(figure);
  const { columns, rows } = figureRows(spec);
  const place = figure.querySelector(".figure-table");
  if (place.hidden) return place.replaceChildren();
  place.setAttribute("aria-label", `${title}: table`);
  return place.replaceChildren(dataTable(columns, rows, spec.description ?? title));
}

// Give a figure its row of buttons, or tell the buttons it has what it shows now.
// `name` is the file name without its ending, `title` what the buttons are told apart by.
export function figureTools(figure, spec, { name, title = name, config }) {
  shown.set(figure, { spec, name, title, config });
  let tools = figure.querySelector(".tools");
  if (!tools) {
    const table = element("div", { class: "figure-table scroll tall", id: `table-${figure.id}`, role: "region", tabindex: "0", hidden: "" });
    const buttons = Object.keys(SAVES).map((kind) => {
      const button = element("button", { type: "button", "data-save": kind, title: `Download as ${kind}` }, kind);
      button.addEventListener("click", () => SAVES[kind](figure, shown.get(figure).name));
      return button;
    });
    const toggle = element("button", { type: "button", "data-save": "Table", title: "Show the numbers", "aria-expanded": "false", "aria-controls": table.id }, "Table");
    toggle.addEventListener("click", () => {
      table.hidden = !table.hidden;
      toggle.setAttribute("aria-expanded", String(!table.hidden));
      showRows(figure);
    });
    tools = element("div", { class: "tools", role: "group" }, ...buttons, toggle);
    figure.append(tools, table);
  }
  tools.setAttribute("aria-label", `Take away: ${title}`);
  for (const button of tools.children) button.setAttribute("aria-label", `${button.textContent}: ${title}`);
  showRows(figure);
}
