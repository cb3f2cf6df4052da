import { element, fill, setLanguages, themeChoice } from "./common.js";
import { csvText, describeFigure, drawFigure, fileName, figureTools, save, unpacked } from "./figures.js";
import { conceptEntries, share } from "./concepts.js";

window.addEventListener("error", (event) => { document.documentElement.dataset.error = event.message; });
window.addEventListener("unhandledrejection", (event) => { document.documentElement.dataset.error = String(event.reason); });

const data = JSON.parse(document.getElementById("data").textContent);
setLanguages(data.attributes);
const $ = (id) => document.getElementById(id);
const state = { run: 0, layer: data.runs[0].start, pair: "", map: "calign" };
const { alignedColumn, jointEntry } = conceptEntries(data);

// -- the table of results -----------------------------------------------------------------------

// As pairs and groups are named in files and tables: what separates labels is escaped in a label.
function nameOf(labels, separator = "-") {
  const unfit = new RegExp(`[%/\\\\\\x00-\\x1f\\x7f${separator}]`, "g");
  const escaped = (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
  return labels.map((label) => label.replace(unfit, escaped)).join(separator);
}

const names = Object.keys(data.table);
const height = data.table.layer.length;
function cell(name, i) {
  const column = data.table[name];
  return Array.isArray(column) ? column[i] : column.values[column.codes[i]];
}
// Text columns whose value is wanted are compared by code: the table may have thousands of rows.
function rowsWhere(wanted) {
  const tests = Object.entries(wanted).map(([name, value]) => {
    const column = data.table[name];
    return Array.isArray(column) ? [column, value] : [column.codes, column.values.indexOf(value)];
  });
  const found = [];
  for (let i = 0; i < height; i++) if (tests.every(([column, value]) => column[i] === value)) found.push(i);
  return found;
}
const ofRun = (run) => { const { model, stack, method, n_concepts, seed } = data.runs[run]; return { model, stack, method, n_concepts, seed }; };

const SHOWN = ["layer", "metric", "source", "target", "theta", "score", "chance", "adjusted", "p_search", "ci_low", "ci_high", "n", "coverage"];
const DECIMALS = new Set(["score", "chance", "adjusted", "p_search", "ci_low", "ci_high", "coverage"]);

function showTable() {
  const wanted = ofRun(Number($("t-run").value));
  if ($("t-metric").value) wanted.metric = $("t-metric").value;
  if ($("t-layer").value) wanted.layer = Number($("t-layer").value);
  const kind = (name) => (Array.isArray(data.table[name]) ? { class: "number" } : {});
  const head = SHOWN.map((name) => element("th", { scope: "col", ...kind(name) }, name.replace("ci_low", "95% low").replace("ci_high", "high")));
  const text = (name, value) => (value === null ? "" : DECIMALS.has(name) ? value.toFixed(3) : String(value));
  const body = rowsWhere(wanted).map((i) => element("tr", {}, ...SHOWN.map((name) => element("td", kind(name), text(name, cell(name, i))))));
  $("results").tHead.replaceChildren(element("tr", {}, ...head));
  $("results").tBodies[0].replaceChildren(...body);
}

const resultRows = () => Array.from({ length: height }, (_, i) => names.map((name) => cell(name, i)));

// -- figures ------------------------------------------------------------------------------------

const look = { config: data.config };
const charts = { runs: data.charts.runs.map((own) => unpackedAll(own)), study: unpackedAll(data.charts.study) };

function unpackedAll(specs) {
  return Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, unpacked(spec)]));
}

function tools(figure, spec, name, ofOneRun) {
  const run = ofOneRun && data.runs.length > 1 ? data.runs[state.run].label : "";
  const title = [spec.title.text].flat().join(" ");
  figureTools(figure, spec, { name: fileName(data.name, name, run), title: `${title}, ${name.replaceAll("_", " ")}`, ...look });
}

async function showFigure(figure) {
  const name = figure.id.slice("fig-".length);
  const ofOneRun = figure.dataset.of === "run";
  const spec = ofOneRun ? charts.runs[state.run][name] : charts.study[name];
  figure.hidden = !spec;
  if (!spec) return;
  await drawFigure(figure.querySelector(".chart"), spec, look);
  tools(figure, spec, name, ofOneRun);
}

async function showFigures() {
  // Sections are shown first: a place inside a hidden one has no width to draw at.
  for (const section of document.querySelectorAll("section[data-figures]")) section.hidden = false;
  const figures = [...document.querySelectorAll("figure[data-of]")];
  await Promise.all([...figures.map(showFigure), showMap()]);
  for (const section of document.querySelectorAll("section[data-figures]")) {
    section.hidden = !section.querySelector("figure:not([hidden])");
  }
  showContents();
}

function showContents() {
  const there = [...document.querySelectorAll("main > section:not([hidden]) > h2")];
  const links = there.slice(1).map((heading) => element("a", { href: `#${heading.id}` }, heading.textContent));
  $("contents").replaceChildren(...links.flatMap((link, i) => (i ? [" · ", link] : [link])));
}

function notes() {
  const many = data.pairs.length > 4;
  const lines = many ? `Grey: the ${data.pairs.length} pairs; bold: their mean, 95% interval; ` : "With 95% intervals; ";
  const theta = (name) => (data.thetas[name] === undefined ? "" : ` θ\u00a0=\u00a0${data.thetas[name]}.`);
  const chance = `${lines}dotted: chance of words, dashed: of sentences.`;
  document.querySelector("#fig-calign_soft .note").textContent = chance;
  document.querySelector("#fig-calign .note").textContent = `${chance}${theta("calign")}`;
  document.querySelector("#fig-colap .note").textContent = `${lines}dashed: languages mixed at random.${theta("colap")}`;
}

// -- the language map: one spec a run, its rows from the table of results ------------------------

const MAPS = {
  calign: ["CALIGN", "above chance, from the language of a row to that of a column. (…): not above chance, corrected for all that was looked at, or the interval includes it."],
  colap: ["COLAP", "of pairs: the share of joint concepts that both languages own."],
};
let mapView = null;

function mapRows(metric) {
  const theta = data.thetas[metric];
  const rows = rowsWhere({ ...ofRun(state.run), layer: state.layer, metric, theta }).map((i) => {
    const row = Object.fromEntries([...SHOWN].map((name) => [name, cell(name, i)]));
    return { ...row, run: data.runs[state.run].label, pair: `${row.source} ${metric === "calign" ? "→" : "–"} ${row.target}` };
  });
  return metric === "calign" ? rows : [...rows, ...rows.map((row) => ({ ...row, source: row.target, target: row.source }))];
}

function mapSpec() {
  const spec = charts.runs[state.run][`${state.map}_map`];
  const words = data.maps[state.run][state.map]?.[state.layer];
  if (!spec || !words) return null;
  const [name] = Object.keys(spec.datasets);
  return { ...spec, description: words.description, title: { ...spec.title, subtitle: words.note }, datasets: { [name]: mapRows(state.map) } };
}

function tellMap(spec) {
  const [title, text] = MAPS[state.map];
  $("map-title").textContent = title;
  $("map-note").textContent = text;
  describeFigure(document.querySelector("#fig-map .chart"), spec);
  tools($("fig-map"), spec, `${state.map}_map-layer-${state.layer}`, true);
}

async function showMap() {
  const spec = mapSpec();
  $("fig-map").hidden = !spec;
  mapView = spec && await drawFigure(document.querySelector("#fig-map .chart"), spec, look);
  if (spec) tellMap(spec);
}

// Another layer has the same axes and shades: the view that is there takes other rows, in one frame.
function moveMap() {
  const spec = mapSpec();
  if (!spec || !mapView) return;
  const [[name, rows]] = Object.entries(spec.datasets);
  mapView.data(name, rows).run();
  tellMap(spec);
}

// -- the concept explorer -----------------------------------------------------------------------

function figureOf(metric, source, target) {
  const theta = data.thetas[metric === "calign_mean" ? "calign" : metric];
  const [i] = rowsWhere({ ...ofRun(state.run), layer: state.layer, metric, source, target, theta });
  return i === undefined ? null : { score: cell("score", i), chance: cell("chance", i) };
}

function showExplorer() {
  const view = data.views[`${state.run}/${state.layer}/${state.pair}`] ?? {};
  const whole = state.pair === "all";
  const languages = whole ? data.languages : data.pairs.find((pair) => nameOf(pair) === state.pair) ?? [];
  const [a, b] = languages;
  const asked = whole
    ? [["COLAP", "colap_group", nameOf(languages, "+"), "", "if mixed"]]
    : [[`CALIGN ${a} → ${b}`, "calign", a, b, "chance"], [`CALIGN ${b} → ${a}`, "calign", b, a, "chance"], ["COLAP", "colap", a, b, "if mixed"]];
  const found = asked.map(([label, metric, source, target, reference]) => {
    const figure = figureOf(metric, source, target);
    return figure && element("span", {}, `${label} `, element("b", {}, share(figure.score)), figure.chance === null ? "" : ` (${reference} ${share(figure.chance)})`);
  });
  $("summary").replaceChildren(...found.filter(Boolean));
  const columns = view.forward ? [alignedColumn(view.forward, a, b), alignedColumn(view.backward, b, a)] : [];
  $("aligned").replaceChildren(...columns);
  const joint = view.joint ?? [];
  const least = data.thetas[whole ? "colap_group" : "colap"];
  const hint = joint.length
    ? `Found in ${languages.join(" and ")} clustered together, the most even first; pale where a language has less than ${(100 * least).toFixed(0)}% of the tokens.`
    : "No concept has words of all these languages at this layer.";
  $("joint").replaceChildren(element("h3", {}, "Shared concepts"), element("p", { class: "hint" }, hint), element("div", { class: "shared" }, ...joint.map((entry) => jointEntry(entry, languages))));
}

// -- what is chosen, and its address --------------------------------------------------------------

const pairNames = [...data.pairs.map((pair) => [nameOf(pair), pair.join(" – ")])];
if (Object.keys(data.views).some((key) => key.endsWith("/all"))) pairNames.push(["all", "all together"]);

// #run=2&layer=3&pair=en-ar; a pair may be written either way round, runs count from 1.
function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const run = Number(asked.get("run") ?? state.run + 1) - 1;
  if (data.runs[run]) state.run = run;
  const layers = data.runs[state.run].layers;
  const layer = asked.has("layer") ? Number(asked.get("layer")) : state.layer;
  state.layer = layers.includes(layer) ? layer : data.runs[state.run].start;
  const wanted = asked.get("pair") ?? state.pair;
  const found = data.pairs.find((pair) => nameOf(pair) === wanted || nameOf([...pair].reverse()) === wanted);
  state.pair = found ? nameOf(found) : pairNames.some(([value]) => value === wanted) ? wanted : pairNames[0]?.[0] ?? "";
}

function showChoice() {
  const layers = data.runs[state.run].layers;
  for (const id of ["run", "x-run"]) $(id).value = String(state.run);
  fill($("layer"), layers.map((layer) => [layer, layer]), String(state.layer));
  $("map-layer").max = layers.length - 1;
  $("map-layer").value = layers.indexOf(state.layer);
  $("map-layer").setAttribute("aria-valuetext", `layer ${state.layer}`);
  $("map-at").textContent = state.layer;
  $("map-metric").value = state.map;
  $("pair").value = state.pair;
  for (const answer of document.querySelectorAll(".answer")) answer.hidden = Number(answer.dataset.run) !== state.run;
}

async function choose(change) {
  const before = { ...state };
  Object.assign(state, change);
  const layers = data.runs[state.run].layers;
  if (!layers.includes(state.layer)) state.layer = data.runs[state.run].start;
  const address = new URLSearchParams({ run: state.run + 1, layer: state.layer, pair: state.pair });
  history.replaceState(null, "", `#${address}`);
  await show(before);
}

async function show(before) {
  showChoice();
  showExplorer();
  if (state.run !== before.run) await showFigures();
  else if (state.map !== before.map) await showMap();
  else if (state.layer !== before.layer) moveMap();
}

function begin() {
  const runs = data.runs.map((run, i) => [String(i), run.label]);
  const many = runs.length > 1;
  for (const id of ["run", "x-run", "t-run"]) fill($(id), runs, String(state.run));
  $("run-choice").hidden = !many;
  for (const id of ["x-run-label", "t-run-label"]) $(id).hidden = !many;
  fill($("pair"), pairNames, state.pair);
  fill($("t-metric"), [...data.table.metric.values.map((name) => [name, name]), ["", "all"]], data.table.metric.values[0]);
  const layers = [...new Set(data.table.layer)].sort((a, b) => a - b);
  fill($("t-layer"), [["", "all"], ...layers.map((layer) => [layer, layer])], "");
  const maps = Object.keys(MAPS).filter((metric) => data.maps.some((own) => own[metric]));
  state.map = maps[0] ?? state.map;
  fill($("map-metric"), maps.map((metric) => [metric, MAPS[metric][0]]), state.map);
  themeChoice($("theme"));
  for (const id of ["run", "x-run"]) $(id).addEventListener("change", (event) => choose({ run: Number(event.target.value) }));
  $("layer").addEventListener("change", (event) => choose({ layer: Number(event.target.value) }));
  $("map-layer").addEventListener("input", (event) => choose({ layer: data.runs[state.run].layers[Number(event.target.value)] }));
  $("map-metric").addEventListener("change", (event) => choose({ map: event.target.value }));
  $("pair").addEventListener("change", (event) => choose({ pair: event.target.value }));
  for (const id of ["t-run", "t-metric", "t-layer"]) $(id).addEventListener("change", showTable);
  $("csv").addEventListener("click", () => save("results.csv", csvText(names, resultRows()), "text/csv"));
  const warnings = document.querySelectorAll("#warnings li").length;
  $("notice").hidden = !warnings;
  $("notice").firstElementChild.textContent = warnings === 1 ? "One thing to know before you rely on these numbers" : `${warnings} things to know before you rely on these numbers`;
  notes();
}

begin();
readAddress();
showChoice();
showExplorer();
showTable();
window.addEventListener("hashchange", async () => {
  if (!/^#(run|layer|pair)=/.test(location.hash)) return;
  const before = { ...state };
  readAddress();
  await show(before);
});
let waiting = 0;
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(showFigures, 150);
});
showFigures().then(() => { document.documentElement.dataset.ready = "yes"; });
