import { element, fill, word, wordList } from "./common.js";

window.addEventListener("error", (event) => { document.documentElement.dataset.error = event.message; });
window.addEventListener("unhandledrejection", (event) => { document.documentElement.dataset.error = String(event.reason); });

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const state = { run: 0, layer: data.runs[0].start, pair: "" };

const named = (numbers) => numbers.map((n) => data.words[n]);
const colour = (language) => data.colours[Math.max(data.languages.indexOf(language), 0) % data.colours.length];
const tag = (language) => element("span", { class: "tag", style: `color: ${colour(language)}` }, language);
const share = (value) => (value === null ? "not measured" : value.toFixed(2));

// -- the table of results -----------------------------------------------------------------------

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

const SHOWN = ["layer", "metric", "source", "target", "theta", "score", "chance", "adjusted", "ci_low", "ci_high", "n", "coverage"];
const DECIMALS = new Set(["score", "chance", "adjusted", "ci_low", "ci_high", "coverage"]);

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

function csv() {
  const quote = (value) => { const text = value === null ? "" : String(value); return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; };
  const lines = [names.join(",")];
  for (let i = 0; i < height; i++) lines.push(names.map((name) => quote(cell(name, i))).join(","));
  return lines.join("\n") + "\n";
}

function download() {
  const link = element("a", { download: "results.csv", href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// -- charts -------------------------------------------------------------------------------------

function fitted(spec, width) {
  const own = structuredClone(spec);
  if (own.facet) {
    const least = Math.min(own.spec.width, width);
    const columns = Math.max(1, Math.min(own.columns, Math.floor((width - 30) / (least + 24))));
    own.columns = columns;
    own.spec.width = Math.floor((width - 44 - 24 * (columns - 1)) / columns) - 4;
  } else {
    own.width = width;
    own.autosize = { type: "fit-x", contains: "padding" };
  }
  return own;
}

async function draw(figure, spec) {
  figure.hidden = !spec;
  if (!spec) return;
  const place = figure.querySelector(".chart");
  const options = { renderer: "svg", actions: false, ast: true, config: data.config, mode: "vega-lite" };
  await vegaEmbed(place, fitted(spec, place.clientWidth), options);
}

async function showCharts() {
  const own = data.charts[state.run] ?? {};
  const all = data.charts.all ?? {};
  const kinds = ["calign", "colap", "calign_pairs", "colap_pairs", "calign_languages", "companions", "labels", "labels_shared"];
  for (const name of ["companions", "labels"]) $(`sec-${name}`).hidden = !own[name];
  const jobs = kinds.map((name) => draw($(`fig-${name}`), own[name]));
  const whole = data.charts.study ?? {};
  $("sec-robustness").hidden = !whole.robustness;
  $("sec-tuning").hidden = !whole.tasks && !whole.differences;
  for (const name of ["robustness", "tasks", "differences", "movement", "transfer", "training"]) {
    jobs.push(draw($(`fig-${name}`), whole[name]));
  }
  $("sec-runs").hidden = !data.charts.all;
  await Promise.all([...jobs, ...["calign", "colap"].map((name) => draw($(`fig-all-${name}`), all[name]))]);
}

function notes() {
  const many = data.pairs.length > 4;
  const lines = many ? `Grey: the ${data.pairs.length} pairs; bold: their mean with its 95% interval; dashed: ` : "With 95% intervals; dashed: ";
  const theta = (name) => (data.thetas[name] === undefined ? "" : ` θ\u00a0=\u00a0${data.thetas[name]}.`);
  document.querySelector("#fig-calign .note").textContent = `${lines}chance.${theta("calign")}`;
  document.querySelector("#fig-colap .note").textContent = `${lines}languages mixed at random.${theta("colap")}`;
}

// -- the concept explorer -----------------------------------------------------------------------

function alignedEntry(entry, source, target) {
  const [s, t, matched, nSource, nTarget, ties, left, right] = entry;
  const match = matched / nSource;
  const rest = (numbers, language) => (numbers.length ? element("p", { class: "rest" }, tag(language), wordList(named(numbers), language)) : null);
  const head = element("div", { class: "head" },
    element("span", { class: "meter" }, element("i", { style: `width: ${100 * match}%` })),
    element("span", {}, element("b", {}, share(match)), ` ${matched} of ${nSource} words, into ${nTarget}`),
    element("span", { class: "id" }, `${s} → ${t}`));
  const joined = ties.map(([first, ...others]) => element("span", { class: "tie" }, word(data.words[first], source), wordList(named(others), target)));
  const found = element("div", { class: match >= data.thetas.calign ? "entry" : "entry below" }, head);
  found.append(element("div", { class: "words" }, element("div", { class: "ties" }, ...joined), ...[rest(left, source), rest(right, target)].filter(Boolean)));
  return found;
}

function alignedColumn(entries, source, target) {
  const title = element("h3", {}, `${source} → ${target}`);
  const hint = entries.length ? `Concepts of ${source} and their best counterpart in ${target}: joined words translate each other; pale where fewer than ${Math.round(100 * data.thetas.calign)}% do.` : `No concept of ${source} has a counterpart of comparable size in ${target}.`;
  return element("div", { class: "column" }, title, element("p", { class: "hint" }, hint), ...entries.map((entry) => alignedEntry(entry, source, target)));
}

function jointEntry(entry, languages) {
  const [concept, passed, counts, lists] = entry;
  const n = counts.reduce((a, b) => a + b, 0);
  const shares = languages.map((language, i) => `${language} ${Math.round((100 * counts[i]) / n)}%`).join(", ");
  const bar = element("div", { class: "bar", role: "img", "aria-label": shares },
    ...languages.map((language, i) => element("i", { style: `background: ${colour(language)}; flex: ${counts[i]} 0 0`, title: `${language}: ${counts[i]} of ${n} tokens` })));
  const head = element("div", { class: "head" }, element("span", {}, shares), element("span", { class: "id" }, `${n} tokens, concept ${concept}`));
  const lines = languages.map((language, i) => element("p", {}, tag(language), wordList(named(lists[i]), language)));
  return element("div", { class: passed ? "entry" : "entry below" }, head, bar, element("div", { class: "words" }, ...lines));
}

function figureOf(metric, source, target) {
  const theta = data.thetas[metric === "calign_mean" ? "calign" : metric];
  const [i] = rowsWhere({ ...ofRun(state.run), layer: state.layer, metric, source, target, theta });
  return i === undefined ? null : { score: cell("score", i), chance: cell("chance", i) };
}

function showExplorer() {
  const view = data.views[`${state.run}/${state.layer}/${state.pair}`] ?? {};
  const whole = state.pair === "all";
  const languages = whole ? data.languages : data.pairs.find((pair) => pair.join("-") === state.pair) ?? [];
  const [a, b] = languages;
  const asked = whole
    ? [["COLAP", "colap_group", languages.join("+"), "", "if mixed"]]
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

const pairNames = [...data.pairs.map((pair) => [pair.join("-"), pair.join(" – ")])];
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
  const found = data.pairs.find((pair) => pair.join("-") === wanted || [...pair].reverse().join("-") === wanted);
  state.pair = found ? found.join("-") : pairNames.some(([value]) => value === wanted) ? wanted : pairNames[0]?.[0] ?? "";
}

function showChoice() {
  const layers = data.runs[state.run].layers;
  for (const id of ["run", "x-run"]) $(id).value = String(state.run);
  fill($("layer"), layers.map((layer) => [layer, layer]), String(state.layer));
  $("pair").value = state.pair;
  for (const answer of document.querySelectorAll(".answer")) answer.hidden = Number(answer.dataset.run) !== state.run;
}

async function choose(change) {
  const before = state.run;
  Object.assign(state, change);
  const layers = data.runs[state.run].layers;
  if (!layers.includes(state.layer)) state.layer = data.runs[state.run].start;
  const address = new URLSearchParams({ run: state.run + 1, layer: state.layer, pair: state.pair });
  history.replaceState(null, "", `#${address}`);
  showChoice();
  showExplorer();
  if (state.run !== before) await showCharts();
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
  for (const id of ["run", "x-run"]) $(id).addEventListener("change", (event) => choose({ run: Number(event.target.value) }));
  $("layer").addEventListener("change", (event) => choose({ layer: Number(event.target.value) }));
  $("pair").addEventListener("change", (event) => choose({ pair: event.target.value }));
  for (const id of ["t-run", "t-metric", "t-layer"]) $(id).addEventListener("change", showTable);
  $("csv").addEventListener("click", download);
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
  const before = state.run;
  readAddress();
  showChoice();
  showExplorer();
  if (state.run !== before) await showCharts();
});
let waiting = 0;
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(showCharts, 150);
});
showCharts().then(() => { document.documentElement.dataset.ready = "yes"; });
