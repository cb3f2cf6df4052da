// What the report and the explorer share. Every piece of a study's text enters a page as a text node.

export function element(name, attributes = {}, ...children) {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  found.append(...children.filter((child) => child !== null));
  return found;
}

// Of every language label the attributes of its text, { lang, dir }, as the toolkit reads labels.
let ofText = {};
export const setLanguages = (found) => { ofText = found; };
export const direction = (language) => ofText[language]?.dir ?? "auto";
export const langOf = (language) => (ofText[language]?.lang ? { lang: ofText[language].lang } : {});

export function word(text, language) {
  return element("bdi", { ...langOf(language), dir: "auto" }, text);
}

export function wordList(words, language) {
  // Real spaces between the words: lines break there, and a copied list keeps its words apart.
  const parts = words.flatMap((text, i) => [i ? element("span", { class: "sep" }, " · ") : "", word(text, language)]);
  return element("span", { class: "list", dir: direction(language) }, ...parts);
}

export function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, label]) => element("option", { value }, label)));
  select.value = chosen;
}

// One of ten; a language beyond them begins again, and its name always stands beside the colour.
export const languageColour = (i) => `var(--language-${Math.max(i, 0) % 10})`;

// Light, dark, or as the system has it. Pages read the same word before they paint (see page.html).
const THEME = "isogloss-theme";
export function themeChoice(select) {
  fill(select, [["", "auto"], ["light", "light"], ["dark", "dark"]], document.documentElement.dataset.theme ?? "");
  select.addEventListener("change", () => {
    const chosen = select.value;
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
    try {
      if (chosen) localStorage.setItem(THEME, chosen);
      else localStorage.removeItem(THEME);
    } catch { /* no storage here: the choice lasts as long as the page */ }
  });
}
