// What the explorer shows: answers of the server in, elements out. `on` has what a reader may choose.
import { direction, element, langOf, languageColour, word, wordList } from "./common.js";

export const percent = (value) => `${(100 * value).toFixed(value < 0.0995 && value > 0 ? 1 : 0)}%`;

// The languages of a space by its name: "en+de", with the "+" of a label as "%2B".
export const languagesOf = (space) => space.split("+").map(decodeURIComponent);

export class Panels {
  constructor(overview, on) {
    this.overview = overview;
    this.on = on;
  }

  tag(language) {
    const at = this.overview.languages.indexOf(language);
    return element("span", { class: "tag", style: `color: ${languageColour(at)}` }, language);
  }

  // "en+de" as its languages, each in its colour.
  tags(space) {
    return element("span", {}, ...languagesOf(space).map((language) => this.tag(language)));
  }

  button(label, act, attributes = {}) {
    const found = element("button", { type: "button", class: "plain", ...attributes }, ...[label].flat());
    found.addEventListener("click", act);
    return found;
  }

  // Words of several languages on one line: [[word, language], ...].
  mixed(words) {
    return element("span", {}, ...words.flatMap(([text, language], i) => [i ? ", " : "", word(text, language)]));
  }

  open(space, concept, label = `${concept}`) {
    return this.button(label, () => this.on.concept(space, concept), {
      "data-concept": `${space}/${concept}`, "aria-label": `Concept ${concept} of ${space}`,
    });
  }

  bar(languages, counts) {
    const n = Math.max(counts.reduce((a, b) => a + b, 0), 1);
    const label = languages.map((language, i) => `${language} ${percent(counts[i] / n)}`).join(", ");
    const parts = languages.map((language, i) => {
      const colour = languageColour(this.overview.languages.indexOf(language));
      return element("i", { style: `background: ${colour}; flex: ${counts[i]} 0 0` });
    });
    return [element("div", { class: "bar", role: "img", "aria-label": label }, ...parts), label];
  }

  // -- lists --------------------------------------------------------------------------------------

  aligned(entry, source, target) {
    const share = entry.n_matched / entry.n_source;
    const head = element("div", { class: "head" },
      element("span", { class: "meter" }, element("i", { style: `width: ${100 * share}%` })),
      element("span", {}, element("b", {}, share.toFixed(2)), ` ${entry.n_matched} of ${entry.n_source} words, into ${entry.n_target}`));
    const pair = element("div", { class: "pair" }, this.tag(source), this.open(this.overview.names[source], entry.source), "→", this.tag(target), this.open(this.overview.names[target], entry.target));
    const ties = entry.ties.map(([first, ...others]) => element("span", { class: "tie" }, word(first, source), wordList(others, target)));
    const rest = entry.rest.map((words, i) => (words.length ? element("p", { class: "rest" }, this.tag([source, target][i]), wordList(words, [source, target][i])) : null));
    const body = element("div", {}, element("div", { class: "ties" }, ...ties), ...rest.filter(Boolean));
    return element("article", { class: share >= this.overview.theta_align ? "entry" : "entry below" }, head, pair, body);
  }

  shared(entry, languages, space) {
    const [bar, label] = this.bar(languages, entry.counts);
    const head = element("div", { class: "head" }, element("span", {}, label), element("span", { class: "id" }, this.open(space, entry.concept)));
    const lines = Object.entries(entry.words).map(([language, words]) => element("p", { class: "rest" }, this.tag(language), wordList(words.map(([text]) => text), language)));
    return element("article", { class: entry.overlaps ? "entry" : "entry below" }, head, bar, ...lines);
  }

  score(found, k) {
    const said = found.estimates.map((f) => {
      const reference = f.metric === "colap" ? "if mixed" : "chance";
      const ends = f.ci_low === null ? "" : `, 95% ${f.ci_low.toFixed(2)} to ${f.ci_high.toFixed(2)}`;
      return element("span", {}, `${f.title} `, element("b", {}, f.score === null ? "not measured" : f.score.toFixed(2)), f.chance === null ? "" : ` (${reference} ${f.chance.toFixed(2)}${ends})`);
    });
    const how = found.measured === "now" ? [element("span", {}, `Measured now at ${k} concepts, with 50 permutations and intervals over concepts.`)] : [];
    return [...said, ...how];
  }

  foundWords(found) {
    const rows = found.entries.map(([text, language, n]) => element("li", {}, this.tag(language), this.button(word(text, language), () => this.on.word(text, language)), element("span", { class: "value" }, `${n}`)));
    const many = found.total > found.entries.length ? `${found.entries.length} of ${found.total} words` : `${found.total} words`;
    return [element("p", { class: "hint" }, found.total ? many : "No word of the corpus contains this."), element("ul", { class: "rows" }, ...rows)];
  }

  wordCard(found) {
    const head = element("h3", {}, this.tag(found.language), word(found.word, found.language), ` ${found.count} tokens`);
    const meant = Object.entries(found.translations).filter(([, words]) => words.length).map(([language, words]) => {
      const buttons = words.map((text) => this.button(word(text, language), () => this.on.word(text, language), { class: "word" }));
      return element("p", { class: "words" }, this.tag(language), element("span", { class: "list", dir: direction(language) }, ...buttons));
    });
    const rows = found.concepts.map((c) => element("li", {}, this.tags(c.space), this.open(c.space, c.concept, this.mixed(c.words)), element("span", { class: "value" }, `${c.n}`)));
    return [head, element("h3", {}, "Translations in use"), ...(meant.length ? meant : [element("p", { class: "hint" }, "None in the dictionary.")]),
      element("h3", {}, "Concepts it is in"), element("p", { class: "hint" }, "The three largest of every space at this layer, with its tokens there."), element("ul", { class: "rows" }, ...rows)];
  }

  // -- one concept --------------------------------------------------------------------------------

  concept(found) {
    const languages = Object.keys(found.counts);
    const [bar] = this.bar(languages, Object.values(found.counts));
    const lines = Object.entries(found.words).map(([language, words]) => {
      const buttons = words.map(([text, n]) => this.button([word(text, language), element("small", {}, ` ${n}`)], () => this.on.sentences(language, text), { class: "word" }));
      return element("p", { class: "words" }, this.tag(language), element("span", { class: "list", dir: direction(language) }, ...buttons));
    });
    const labels = found.labels.map((l) => element("li", {}, `${l.kind.replace("_", " ")} `, word(l.value, ""), ` ${percent(l.share)}`));
    const values = Object.entries(found.values).flatMap(([name, shares]) => shares.slice(0, 2).map(([value, share]) => element("li", {}, `${name} `, word(value, ""), ` ${percent(share)}`)));
    const parts = [
      element("h3", {}, this.tags(found.space), `concept ${found.concept}`),
      element("p", { class: "size" }, `${found.size} tokens of ${found.n_types} words`),
      languages.length > 1 ? bar : null,
      ...lines,
      labels.length + values.length ? element("ul", { class: "chips", "aria-label": "What its words have in common" }, ...labels, ...values) : null,
    ];
    if (found.counterparts.length) {
      const rows = found.counterparts.map((c) => element("li", {}, this.tags(c.space), this.open(c.space, c.concept, this.mixed(c.words)), element("span", { class: "value" }, c.match.toFixed(2))));
      parts.push(element("h3", {}, "Best counterparts"), element("p", { class: "hint" }, "With the share of its words that find a translation there."), element("ul", { class: "rows" }, ...rows));
    }
    const near = found.neighbours.map((c) => element("li", {}, this.open(found.space, c.concept, this.mixed(c.words)), element("span", { class: "value" }, c.cosine.toFixed(2))));
    parts.push(element("h3", {}, "Neighbours"), element("p", { class: "hint" }, "By the cosine of mean states, the mean of all taken away."), element("ul", { class: "rows" }, ...near));
    return parts.filter(Boolean);
  }

  follow(found, state) {
    const row = (column, label, here) => {
      const rest = 1 - column.flows.reduce((sum, flow) => sum + flow.of_mine, 0);
      const parts = column.flows.map((flow) => {
        const text = flow.words.map(([w]) => w).join(", ");
        const title = `Concept ${flow.concept}: ${flow.n} of its ${found.size} tokens (${percent(flow.of_mine)}), ${percent(flow.of_theirs)} of that concept`;
        const button = this.button(this.mixed(flow.words), () => this.on.jump(column.place, column.layer, flow.concept), { class: "", title, "aria-label": `${label}: ${title}: ${text}` });
        button.style.flex = `${flow.of_mine} 1 0`;
        return button;
      });
      const space = element("span", { title: `${percent(Math.max(rest, 0))} elsewhere` });
      space.style.flex = `${Math.max(rest, 0)} 1 0`;
      return [element("span", { class: "at", ...(here ? { "aria-current": "true" } : {}) }, label), element("div", { class: "track" }, ...parts, space)];
    };
    const layers = found.layers.flatMap((c) => row(c, `layer ${c.layer}`, c.layer === state.layer));
    const parts = [element("h3", {}, "Where its words are in other layers"),
      element("p", { class: "hint" }, "A bar is all its tokens; a part is a concept there, as wide as its share of them."), element("div", { class: "flow" }, ...layers)];
    if (found.models.length) {
      const models = found.models.flatMap((c) => row(c, this.overview.places[c.place].label, false));
      parts.push(element("h3", {}, "Where they are in other models"), element("div", { class: "flow" }, ...models));
    }
    return parts;
  }

  sentences(found) {
    return found.entries.map((entry) => {
      // Offsets count code points; a string of JavaScript counts UTF-16 units.
      const points = Array.from(entry.text);
      const cut = (from, to) => points.slice(from, to).join("");
      const line = element("span", { class: "line", dir: direction(entry.language), ...langOf(entry.language) },
        cut(0, entry.start), element("mark", {}, cut(entry.start, entry.end)), cut(entry.end));
      const beside = Object.entries(entry.beside).map(([language, text]) => element("p", { class: "beside" }, this.tag(language),
        element("span", { class: "line", dir: direction(language), ...langOf(language) }, text)));
      return element("div", { class: "sentence" }, element("p", {}, this.tag(entry.language), line), ...beside);
    });
  }
}
