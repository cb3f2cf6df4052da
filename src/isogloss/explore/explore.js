// The explorer: what is chosen, what is asked, where the answer goes. Answers that come too late are dropped.
import { element, fill, setLanguages, themeChoice } from "./common.js";
import { drawFigure, figureTools, fileName } from "./figures.js";
import { Panels, languagesOf, percent } from "./panels.js";

const root = document.documentElement;
window.addEventListener("error", (event) => { root.dataset.error = event.message; });
window.addEventListener("unhandledrejection", (event) => { root.dataset.error = String(event.reason); });
try { if (localStorage.getItem("isogloss-theme")) root.dataset.theme = localStorage.getItem("isogloss-theme"); } catch { /* no storage: auto */ }

const $ = (id) => document.getElementById(id);
const NONE = "#9aa0a6"; // of a disc without a value
const GROUND = [203, 213, 225], FULL = [43, 102, 170]; // ends of the scale of matches

let overview, specs, panels, view, points = [], mapped = null;
const state = { place: 0, layer: 0, k: 0, pair: "", reverse: false, space: "", concept: null, tab: "aligned", colour: "languages", word: null };
const turn = {}; // of every panel, the number of its last question

class Refused extends Error {}

async function ask(question, parameters = {}) {
  const given = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== ""));
  const response = await fetch(`api/${question}?${given}`);
  const found = await response.json();
  if (!response.ok) throw new Refused(found.error);
  return found;
}

const wait = (n) => { root.dataset.waiting = String(Number(root.dataset.waiting ?? 0) + n); };

// Ask for a panel and show the answer unless the panel has asked again meanwhile.
async function into(panel, question, parameters, show) {
  const mine = (turn[panel] = (turn[panel] ?? 0) + 1);
  const place = $(panel);
  place.classList.add("busy");
  wait(1);
  try {
    const found = await ask(question, parameters);
    if (turn[panel] === mine) await show(found);
    $("problem").hidden = true;
  } catch (error) {
    if (!(error instanceof Refused) && !(error instanceof TypeError)) throw error;
    $("problem").textContent = error instanceof Refused ? error.message : "The explorer does not answer. Is it still running in its terminal?";
    $("problem").hidden = false;
  } finally {
    if (turn[panel] === mine) place.classList.remove("busy");
    wait(-1);
  }
}

// -- what is chosen -------------------------------------------------------------------------------

const place = () => overview.places[state.place];
const alone = (language) => overview.names[language];
const together = (languages) => languages.map(alone).join("+");
const whole = () => together(overview.languages);
const ends = () => { const pair = languagesOf(state.pair); return state.reverse ? pair.reverse() : pair; };
const joint = () => state.pair;
const isPair = () => languagesOf(state.pair).length === 2;
const at = () => ({ place: state.place, layer: state.layer, k: state.k });

const KEPT = ["place", "layer", "k", "pair", "reverse", "space", "concept", "tab", "colour"];
function remember() {
  const kept = KEPT.filter((key) => state[key] !== null && state[key] !== "" && state[key] !== false).map((key) => [key, state[key]]);
  history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
}

function recall() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const number = (key, fallback) => (/^\d+$/.test(asked.get(key) ?? "") ? Number(asked.get(key)) : fallback);
  const start = overview.start;
  state.place = overview.places[number("place", start.place)] ? number("place", start.place) : start.place;
  state.layer = place().layers.includes(number("layer", start.layer)) ? number("layer", start.layer) : place().layers.at(-1);
  state.k = number("k", place().ks.includes(start.k) ? start.k : place().ks[0]) || place().ks[0];
  if (!place().free && !place().ks.includes(state.k)) state.k = place().ks[0];
  const pairs = overview.pairs.map(together);
  state.pair = [...pairs, whole()].includes(asked.get("pair")) ? asked.get("pair") : pairs[0] ?? whole();
  state.reverse = asked.get("reverse") === "true";
  state.space = overview.spaces.includes(asked.get("space")) ? asked.get("space") : joint();
  state.concept = number("concept", null);
  state.tab = asked.get("tab") === "shared" || !isPair() ? "shared" : "aligned";
  state.colour = asked.get("colour") ?? "languages";
}

// K moves on a scale of its logarithm: from 10 to 20 is as far as from 100 to 200.
const toSlider = (k) => Math.log2(k);
const ofSlider = (value) => Math.round(2 ** value);

function showChoices() {
  $("finding").textContent = place().finding;
  fill($("place"), overview.places.map((p, i) => [i, p.label]), state.place);
  $("place-label").hidden = overview.places.length < 2;
  const layers = place().layers;
  Object.assign($("layer"), { max: layers.length - 1, value: layers.indexOf(state.layer) });
  $("layer").setAttribute("aria-valuetext", `layer ${state.layer}`);
  $("layer-now").textContent = state.layer;
  $("k-label").hidden = !place().free;
  $("k-select-label").hidden = place().free;
  Object.assign($("k"), { min: toSlider(5), max: toSlider(overview.max_concepts), value: toSlider(state.k) });
  $("k").setAttribute("aria-valuetext", `${state.k} concepts`);
  $("k-now").textContent = state.k;
  fill($("k-select"), place().ks.map((k) => [k, k]), state.k);
  const pairs = overview.pairs.map((pair) => [together(pair), pair.join(" – ")]);
  fill($("pair"), overview.languages.length > 2 || !pairs.length ? [...pairs, [whole(), "all together"]] : pairs, state.pair);
  const spaces = [...new Set([joint(), ...(isPair() ? ends() : overview.languages).map(alone), ...(overview.spaces.includes(whole()) ? [whole()] : []), state.space])];
  fill($("space"), spaces.map((name) => [name, name === whole() && !isPair() ? "all together" : languagesOf(name).join(" + ")]), state.space);
  const single = !state.space.includes("+");
  const colours = [...(single ? [] : [["languages", "languages"]]), ...(single && !isPair() ? [] : [["alignment", single ? "match" : "overlap"]]), ["size", "types"], ...Object.keys(overview.columns).map((name) => [name, name])];
  if (!colours.some(([name]) => name === state.colour)) state.colour = colours[0][0];
  fill($("colour"), colours, state.colour);
  for (const name of ["aligned", "shared", "word"]) $(`tab-${name}`).setAttribute("aria-pressed", String(state.tab === name));
  $("tab-aligned").hidden = !isPair();
  $("tab-word").hidden = state.tab !== "word" && !state.word && !$("q").value;
}

// -- the lists ------------------------------------------------------------------------------------

function showList() {
  const offset = 0;
  $("directions").hidden = state.tab !== "aligned";
  $("score").hidden = state.tab === "word";
  $("more").hidden = true;
  if (state.tab === "aligned") return loadAligned(offset);
  if (state.tab === "shared") return loadShared(offset);
  return state.word ? loadWord() : search();
}

function listed(found, offset, make, load) {
  const made = found.entries.map(make);
  if (offset) $("list").append(...made);
  else $("list").replaceChildren(...made);
  const seen = offset + found.entries.length;
  $("more").hidden = seen >= found.total;
  $("more").textContent = `Show more (${seen} of ${found.total})`;
  $("more").onclick = () => load(seen);
  if (!offset) $("lists").scrollTop = 0;
}

function loadAligned(offset) {
  const [source, target] = ends();
  const choice = [false, true].map((reverse) => {
    const [a, b] = languagesOf(state.pair);
    return panels.button(reverse ? `${b} → ${a}` : `${a} → ${b}`, () => choose({ reverse }), { "aria-pressed": String(state.reverse === reverse) });
  });
  $("directions").replaceChildren(...choice);
  return into("list", "aligned", { ...at(), source, target, offset }, (found) => {
    $("list-hint").textContent = found.total
      ? `${found.total} of ${found.n_eligible} concepts of ${source} with ${overview.min_types} or more words have a counterpart of comparable size in ${target}. Joined words translate each other; pale where fewer than ${percent(overview.theta_align)} do.`
      : `No concept of ${source} has a counterpart of comparable size in ${target}. Try fewer concepts.`;
    listed(found, offset, (entry) => panels.aligned(entry, source, target), loadAligned);
  });
}

function loadShared(offset) {
  return into("list", "shared", { ...at(), space: joint(), offset }, (found) => {
    $("list-hint").textContent = `${found.n_overlapping} of ${found.total} concepts of these languages together overlap; the most evenly shared first, pale where a language has too little.`;
    listed(found, offset, (entry) => panels.shared(entry, found.languages, joint()), loadShared);
  });
}

function loadScore() {
  if (!isPair()) { turn.score = (turn.score ?? 0) + 1; $("score").replaceChildren(); return null; }
  const [source, target] = languagesOf(state.pair);
  return into("score", "score", { ...at(), source, target }, (found) => $("score").replaceChildren(...panels.score(found, state.k)));
}

function search() {
  const q = $("q").value.trim();
  $("list-hint").textContent = "";
  if (!q) { $("list").replaceChildren(); return null; }
  return into("list", "search", { q }, (found) => $("list").replaceChildren(...panels.foundWords(found)));
}

function loadWord() {
  $("list-hint").textContent = "";
  const [text, language] = state.word;
  return into("list", "word", { ...at(), language, word: text }, (found) => { $("list").replaceChildren(...panels.wordCard(found)); $("lists").scrollTop = 0; });
}

// -- the map --------------------------------------------------------------------------------------

const mix = (share) => `rgb(${GROUND.map((low, i) => Math.round(low + share * (FULL[i] - low))).join(", ")})`;
const ofLanguage = (language) => overview.colours[overview.languages.indexOf(language) % overview.colours.length];

// The colour and the word for every disc, and what the colours mean.
function colouring(found) {
  const { languages, counts, size } = found;
  if (state.colour === "languages" && languages.length > 1) {
    const about = counts.map((own, c) => languages.map((language, i) => `${language} ${percent(own[i] / Math.max(size[c], 1))}`).join(", "));
    const colour = counts.map((own, c) => {
      const most = own.indexOf(Math.max(...own));
      return own[most] > 0.8 * size[c] ? ofLanguage(languages[most]) : NONE;
    });
    return { colour, about, legend: [...languages.map((language) => [ofLanguage(language), `nearly all ${language}`]), [NONE, "mixed"]] };
  }
  if (state.colour === "alignment" && found.match) {
    const other = ends().find((language) => alone(language) !== state.space);
    const colour = found.match.map((value) => (value === null ? NONE : mix(value)));
    const about = found.match.map((value) => (value === null ? "too few words to be matched" : `match in ${other} ${value.toFixed(2)}`));
    return { colour, about, legend: [[mix(0), `no match in ${other}`], [mix(0.5), "half of its words"], [mix(1), "all"], [NONE, "too few words"]] };
  }
  if (state.colour === "alignment") {
    const colour = found.aligned.map((yes) => (yes ? mix(1) : NONE));
    return { colour, about: found.aligned.map((yes) => (yes ? "overlaps" : "does not overlap")), legend: [[mix(1), "overlaps"], [NONE, "does not"]] };
  }
  if (overview.columns[state.colour]) {
    const values = overview.columns[state.colour], codes = found.values[state.colour];
    const palette = (code) => (code < 0 ? NONE : overview.colours[code % overview.colours.length]);
    const there = values.map((value, i) => [i, value]).filter(([i]) => codes.includes(i)).slice(0, overview.colours.length);
    const shown = new Set(there.map(([i]) => i));
    return { colour: codes.map((code) => palette(shown.has(code) ? code : -1)), about: codes.map((code) => (code < 0 ? "no common value" : values[code])), legend: [...there.map(([i, value]) => [palette(i), value]), [NONE, "none in common"]] };
  }
  const most = Math.log(Math.max(...found.types, 2));
  const colour = found.types.map((n) => mix(Math.log(Math.max(n, 1)) / most));
  return { colour, about: found.types.map((n) => `${n} words`), legend: [[mix(0), "one word"], [mix(1), `${Math.max(...found.types)} words`]] };
}

function loadMap() {
  const other = isPair() && ends().map(alone).includes(state.space) ? ends().find((language) => alone(language) !== state.space) : "";
  return into("fig-map", "map", { ...at(), space: state.space, towards: other }, async (found) => { mapped = found; await showMap(); });
}

async function showMap() {
  if (!mapped) return;
  const { colour, about, legend } = colouring(mapped);
  $("legend").replaceChildren(...legend.map(([shade, text]) => { const dot = element("i"); dot.style.background = shade; return element("span", {}, dot, text); }));
  points = mapped.x.map((x, c) => ({ concept: c, x, y: mapped.y[c], size: mapped.size[c], words: mapped.words[c], colour: colour[c], about: about[c], chosen: c === state.concept }));
  const spec = structuredClone(specs.map);
  spec.data.values = points;
  const name = fileName(overview.title, place().label, `layer ${state.layer}`, state.space, `${state.k} concepts`);
  figureTools($("fig-map"), spec, { name, title: "Map of concepts", config: specs.config });
  if (view) { await view.data("points", points).runAsync(); return; }
  view = await drawFigure($("fig-map").querySelector(".chart"), spec, { config: specs.config });
  $("fig-map").querySelector(".chart").setAttribute("aria-label", "Map of concepts; the lists beside it hold the same concepts for the keyboard");
  view.addEventListener("click", (event, item) => { if (item?.datum?.concept !== undefined) show(state.space, item.datum.concept); });
}

// -- the curve ------------------------------------------------------------------------------------

let curve;
function loadDepth() {
  $("fig-depth").hidden = !isPair();
  if (!isPair()) return null;
  const [source, target] = languagesOf(state.pair);
  return into("fig-depth", "depth", { place: state.place, k: state.k, source, target }, async (found) => {
    const rows = found.rows.map((row) => ({ ...row, measure: row.title }));
    const spec = structuredClone(specs.depth);
    spec.data.values = rows;
    spec.params.find((param) => param.name === "now").value = state.layer;
    const name = fileName(overview.title, place().label, state.pair, `${found.k} concepts`);
    figureTools($("fig-depth"), spec, { name, title: "Through the layers", config: specs.config });
    curve?.finalize();
    curve = await drawFigure($("fig-depth").querySelector(".chart"), spec, { config: specs.config });
    const said = rows.map((row) => `${row.measure} at layer ${row.layer} ${row.score?.toFixed(2) ?? "not measured"}, chance ${row.chance?.toFixed(2) ?? "unknown"}`);
    $("fig-depth").querySelector(".chart").setAttribute("aria-label", `${source} and ${target}: ${said.join("; ")}`);
    $("depth-note").textContent = `${source} – ${target} at ${found.k} concepts, as the study measured: CALIGN (mean of both directions) with chance dashed, the higher of words and sentences; COLAP with languages mixed at random dashed. 95% intervals. Choose a point to go to its layer.`;
    curve.addEventListener("click", (event, item) => { if (item?.datum?.layer !== undefined) choose({ layer: item.datum.layer }); });
  });
}

// -- one concept ----------------------------------------------------------------------------------

async function loadConcept() {
  const place_ = $("concept");
  if (state.concept === null) return;
  const chosen = { ...at(), space: state.space, concept: state.concept };
  await into("concept", "concept", chosen, (found) => {
    const flow = element("div", { id: "follow" }), read = element("div", { id: "sentences" });
    place_.replaceChildren(...panels.concept(found), flow, read);
    $("h-detail").replaceChildren(`Concept ${found.concept}`);
  });
  if (!$("follow")) return;
  await Promise.all([
    into("follow", "follow", chosen, (found) => $("follow").replaceChildren(...panels.follow(found, state))),
    loadSentences("", "", 0),
  ]);
}

function loadSentences(language, text, offset) {
  const chosen = { ...at(), space: state.space, concept: state.concept };
  return into("sentences", "occurrences", { ...chosen, language, word: text, offset }, (found) => {
    const made = panels.sentences(found);
    const seen = offset + found.entries.length;
    const more = panels.button(`Show more (${seen} of ${found.total})`, () => { more.remove(); loadSentences(language, text, seen); });
    const parts = seen < found.total ? [...made, more] : made;
    if (offset) { $("sentences").append(...parts); return; }
    const head = element("h3", {}, text ? `Sentences with “` : "Sentences", ...(text ? [element("bdi", {}, text), "”"] : []));
    const tools = text ? [element("p", {}, panels.button("All sentences", () => loadSentences("", "", 0)), " ", panels.button("Look this word up", () => lookUp(text, language)))] : [];
    $("sentences").replaceChildren(head, ...tools, ...parts);
  });
}

function show(space, concept) {
  const moved = space !== state.space;
  Object.assign(state, { space, concept });
  remember();
  showChoices();
  if (window.innerWidth < 1100) $("detail").scrollIntoView(); // it stands below the lists there
  else $("detail").scrollTop = 0;
  return Promise.all([moved ? loadMap() : showMap(), loadConcept()]);
}

async function lookUp(text, language) {
  Object.assign(state, { word: [text, language], tab: "word" });
  showChoices();
  await showList();
}

// -- changes --------------------------------------------------------------------------------------

// A concept is followed to where most of its tokens are after a change of layer, model or number of concepts.
async function choose(change) {
  const before = { ...at(), space: state.space, concept: state.concept };
  Object.assign(state, change);
  if (!place().layers.includes(state.layer)) state.layer = place().layers.at(-1);
  if (!place().free && !place().ks.includes(state.k)) state.k = place().ks[0];
  if ("pair" in change) Object.assign(state, { space: joint(), concept: null, reverse: false, tab: isPair() ? (state.tab === "word" ? "aligned" : state.tab) : "shared" });
  if ("space" in change && change.space !== before.space) state.concept = change.concept ?? null;
  const moved = ["place", "layer", "k"].some((key) => key in change);
  const mine = (turn.choose = (turn.choose ?? 0) + 1);
  if (moved && before.concept !== null && !("concept" in change)) {
    wait(1);
    const found = await ask("trace", { ...before, to_place: state.place, to_layer: state.layer, to_k: state.k }).catch(() => ({ concept: null }));
    wait(-1);
    if (turn.choose !== mine) return;
    state.concept = found.concept;
  }
  if (state.concept === null) $("concept").replaceChildren(element("p", { class: "hint" }, "Choose a concept from the lists or the map, or look a word up."));
  remember();
  showChoices();
  const jobs = [];
  if (moved || "pair" in change || "reverse" in change || "tab" in change) jobs.push(showList());
  if (moved || "pair" in change) jobs.push(loadScore(), loadDepth());
  if (moved || "pair" in change || "space" in change) jobs.push(loadMap());
  else if ("colour" in change) jobs.push(showMap());
  if (moved || "concept" in change) jobs.push(loadConcept());
  await Promise.all(jobs);
}

function listen() {
  const number = (id, key) => $(id).addEventListener("change", (event) => choose({ [key]: Number(event.target.value) }));
  number("place", "place");
  number("k-select", "k");
  $("pair").addEventListener("change", (event) => choose({ pair: event.target.value }));
  $("space").addEventListener("change", (event) => choose({ space: event.target.value }));
  $("colour").addEventListener("change", (event) => choose({ colour: event.target.value }));
  $("layer").addEventListener("input", (event) => choose({ layer: place().layers[Number(event.target.value)] }));
  $("k").addEventListener("input", (event) => {
    const k = ofSlider(Number(event.target.value));
    if (k !== state.k) choose({ k });
  });
  $("k").addEventListener("keydown", (event) => { // one concept more or less, ten with shift
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    choose({ k: Math.min(Math.max(state.k + step * (event.shiftKey ? 10 : 1), 5), overview.max_concepts) });
  });
  for (const tab of ["aligned", "shared", "word"]) $(`tab-${tab}`).addEventListener("click", () => choose({ tab }));
  let waiting = 0;
  $("q").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.word = null; choose({ tab: $("q").value.trim() ? "word" : isPair() ? "aligned" : "shared" }); }, 120);
  });
  window.addEventListener("hashchange", () => { recall(); start(); });
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    view?.finalize();
    view = null;
    showMap();
    loadDepth();
  });
}

async function start() {
  showChoices();
  await Promise.all([showList(), loadScore(), loadMap(), loadDepth(), loadConcept()]);
  root.dataset.ready = "yes";
}

async function begin() {
  themeChoice($("theme"));
  [overview, specs] = await Promise.all([ask("overview"), ask("charts")]);
  setLanguages(overview.attributes);
  panels = new Panels(overview, {
    concept: show,
    word: lookUp,
    sentences: (language, text) => loadSentences(language, text, 0),
    jump: (number, layer, concept) => choose({ place: number, layer, concept }),
  });
  $("title").textContent = overview.title;
  document.title = `${overview.title}: isogloss explore`;
  $("facts").textContent = `${overview.languages.length} languages, ${overview.n_sentences.toLocaleString("en")} sentences, ${overview.n_tokens.toLocaleString("en")} tokens of ${overview.n_types.toLocaleString("en")} words`;
  recall();
  listen();
  await start();
}

begin();
