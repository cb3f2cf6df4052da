// The concepts of the report: entries of a view, made of words by number.
import { element, languageColour, word, wordList } from "./common.js";

export const share = (value) => (value === null ? "not measured" : value.toFixed(2));

// `data` is the page's: its words, languages and thetas.
export function conceptEntries(data) {
  const named = (numbers) => numbers.map((n) => data.words[n]);
  const colour = (language) => languageColour(data.languages.indexOf(language));
  const tag = (language) => element("span", { class: "tag", style: `color: ${colour(language)}` }, language);

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

  return { alignedColumn, jointEntry };
}
