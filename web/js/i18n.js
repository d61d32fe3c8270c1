// The page's words in two languages. An element made with `say()` (or marked data-t in index.html) remembers its key
// and values, so that switching the language changes every word on the page in place and nothing has to be redrawn.

import en from './text.en.js';
import zh from './text.zh.js';

const TEXTS = {en: {...en}, zh: {...zh}};
const STORED = 'lookalike.language';
const bound = new WeakMap(); // element → Map of attribute ('' is the text) → [key, values]

let current = document.documentElement.lang.startsWith('zh') ? 'zh' : 'en'; // early.js has chosen
let numbers = new Intl.NumberFormat(current);
let plurals = new Intl.PluralRules(current);

export const language = () => current;

/** More texts, of a part of the page that is loaded later: {en: {…}, zh: {…}}. */
export function addTexts(more) {
  for (const code of Object.keys(TEXTS)) {
    Object.assign(TEXTS[code], more[code]);
  }
}

/** The text of a key. Numbers are written the language's way; strings are data and keep their own direction. */
export function text(key, values = {}) {
  let pattern = TEXTS[current][key] ?? TEXTS.en[key] ?? key;
  if (typeof pattern === 'object') {
    pattern = pattern[plurals.select(values.count)] ?? pattern.other;
  }
  return pattern.replace(/\{(\w+)\}/g, (all, name) => {
    const value = values[name];
    return typeof value === 'number' ? numbers.format(value) : `\u2068${value}\u2069`;
  });
}

function show(element, attribute, key, values) {
  if (attribute === '') {
    element.textContent = text(key, values);
  } else {
    element.setAttribute(attribute, text(key, values));
  }
}

/** Give `element` the text of `key`, now and after every change of the language. Returns the element. */
export function say(element, key, values = {}, attribute = '') {
  if (!bound.has(element)) {
    bound.set(element, new Map());
  }
  bound.get(element).set(attribute, [key, values]);
  element.dataset.t ??= '';
  show(element, attribute, key, values);
  return element;
}

/** The words written in index.html: data-t="key" for the text, data-t-attr="aria-label:key placeholder:key". */
function bindMarkup() {
  for (const element of document.querySelectorAll('[data-t]')) {
    if (element.dataset.t && !bound.get(element)?.has('')) {
      say(element, element.dataset.t);
    }
  }
  for (const element of document.querySelectorAll('[data-t-attr]')) {
    for (const pair of element.dataset.tAttr.split(' ')) {
      const [attribute, key] = pair.split(':');
      say(element, key, {}, attribute);
    }
  }
}

function showAll() {
  for (const element of document.querySelectorAll('[data-t]')) {
    for (const [attribute, [key, values]] of bound.get(element) ?? []) {
      show(element, attribute, key, values);
    }
  }
}

export function setLanguage(code) {
  current = code;
  numbers = new Intl.NumberFormat(code);
  plurals = new Intl.PluralRules(code);
  document.documentElement.lang = code === 'zh' ? 'zh-CN' : 'en';
  showAll();
}

export function startLanguage(button) {
  bindMarkup();
  setLanguage(current);
  document.documentElement.dataset.ready = '';
  button.addEventListener('click', () => {
    setLanguage(current === 'zh' ? 'en' : 'zh');
    try {
      localStorage.setItem(STORED, current);
    } catch {
      // Storage is switched off: the choice lasts until the page is left.
    }
  });
}
