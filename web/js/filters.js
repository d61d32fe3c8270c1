// What narrows a search: the values of tags and of members of `brief`, with how many pictures have them, and an
// expression. Beside the hits; on a phone a sheet over them.

import {facets} from './api.js';
import {byId, icon, make} from './dom.js';
import {Expression} from './expression.js';
import {say} from './i18n.js';
import {wholeFilter} from './state.js';

const FIRST = 8; // values shown of a field
const MORE = 100;

/** brief["size"]["eu"] → size › eu */
const pathName = (field) => [...field.matchAll(/\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]/g)]
  .map(([, name, index]) => name ?? index).join(' › ') || field;

const valueText = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

export class Filters {
  #acts;
  #expression;
  #control = new AbortController();
  #expanded = new Set();
  #state = null;
  #asked = '';

  /** `acts`: toggle(field, value), filter(expression), clear(). */
  constructor(acts) {
    this.#acts = acts;
    this.#expression = new Expression(byId('expression'), acts.filter);
    byId('filters-open').addEventListener('click', () => this.open(true));
    byId('filters-close').addEventListener('click', () => this.open(false));
    byId('filters-done').addEventListener('click', () => this.open(false));
    byId('filters-clear').addEventListener('click', acts.clear);
    byId('filters').addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && document.body.dataset.sheet === 'filters') {
        this.open(false);
      }
    });
    matchMedia('(min-width: 721px)').addEventListener('change', () => this.open(false, false));
  }

  /** On a phone: the sheet. What lies under it cannot be reached meanwhile. */
  open(wanted, moveFocus = true) {
    document.body.toggleAttribute('data-sheet', wanted);
    if (wanted) {
      document.body.dataset.sheet = 'filters';
    }
    for (const under of document.querySelectorAll('.top, .query, .results')) {
      under.inert = wanted;
    }
    if (moveFocus) {
      byId(wanted ? 'filters-close' : 'filters-open').focus();
    }
  }

  get isOpen() {
    return document.body.dataset.sheet === 'filters';
  }

  show(state) {
    this.#state = state;
    const chosen = state.facets.reduce((sum, [, values]) => sum + values.length, 0) + (state.filter ? 1 : 0);
    byId('filters-count').textContent = chosen ? String(chosen) : '';
    byId('filters-clear').hidden = chosen === 0;
    this.#expression.show(state.collection, state.filter);
    const asked = JSON.stringify([state.collection, state.facets, state.filter]);
    if (asked !== this.#asked) {
      this.#asked = asked;
      this.#load();
    }
  }

  fail(failure) {
    // The expression stands first, in a bracket where facets follow it.
    const column = failure.column === null ? null : failure.column - (this.#state.facets.length ? 1 : 0);
    this.#expression.fail({...failure, detail: failure.detail, column});
  }

  #limit(field) {
    return this.#expanded.has(field) ? MORE : FIRST;
  }

  async #load() {
    this.#control.abort();
    this.#control = new AbortController();
    const {signal} = this.#control;
    const state = this.#state;
    const whole = wholeFilter(state);
    const own = [...new Set([...state.facets.map(([field]) => field), ...this.#expanded])];
    try {
      // A field with chosen values is counted without them, so that the alternatives can be seen.
      const [all, ...single] = await Promise.all([
        facets(state.collection, {filter: whole, limit: FIRST}, signal),
        ...own.map((field) => facets(state.collection, {field, filter: wholeFilter(state, field), limit: this.#limit(field)}, signal)),
      ]);
      const fields = new Map(all.map((one) => [one.field, one]));
      for (const one of single.flat()) {
        fields.set(one.field, one);
      }
      this.#fill(state, [...fields.values()]);
    } catch (error) {
      if (!signal.aborted && error.field !== 'filter') {
        byId('facets').replaceChildren(); // this server does not count values: the expression is left
      }
    }
  }

  #fill(state, fields) {
    const chosen = new Map(state.facets);
    const focused = document.activeElement?.dataset.facet;
    byId('facets').replaceChildren(...fields.filter(({field, values}) => values.length > 0 || chosen.has(field))
      .map((one) => this.#field(one, chosen.get(one.field) ?? [])));
    if (focused) {
      [...byId('facets').querySelectorAll('[data-facet]')].find((one) => one.dataset.facet === focused)?.focus({preventScroll: true});
    }
  }

  #field({field, values, distinct}, chosen) {
    const missing = chosen.filter((value) => !values.some((one) => one.value === value)).map((value) => ({value, count: 0}));
    const shown = [...values, ...missing].sort((a, b) => chosen.includes(b.value) - chosen.includes(a.value));
    const most = Math.max(1, ...shown.map((one) => one.count));
    const legend = field === 'tags' ? say(make('span'), 'hit.tags') : make('bdi', {}, pathName(field));
    const canGrow = (distinct ?? 0) > values.length || values.length >= FIRST;
    return make('fieldset', {class: 'facet'},
      make('legend', {title: field}, legend),
      ...shown.map(({value, count}) => this.#value(field, value, count, count / most, chosen.includes(value))),
      canGrow && !this.#expanded.has(field)
        ? say(make('button', {class: 'facet-more', type: 'button', 'data-facet': `more ${field}`, onclick: () => {
          this.#expanded.add(field);
          this.#load();
        }}), 'filter.more') : null);
  }

  #value(field, value, count, part, isChosen) {
    const text = valueText(value);
    const bar = make('span', {class: 'facet-bar'});
    bar.style.setProperty('--part', part.toFixed(3));
    return make('label', {class: 'facet-value'},
      make('input', {
        type: 'checkbox', checked: isChosen, 'data-facet': `${field}=${JSON.stringify(value)}`,
        onchange: () => this.#acts.toggle(field, value),
      }),
      make('span', {class: 'facet-box', 'aria-hidden': 'true'}, icon('check')),
      make('bdi', {class: 'facet-name', title: text}, text),
      make('span', {class: 'facet-count'}, String(count)), bar);
  }
}

/** What narrows the search, as chips above the hits, each with a way to take it off. */
export function filterChips(state, acts) {
  const chip = (content, remove) => make('li', {}, say(make('button', {class: 'filter-chip', type: 'button', onclick: remove},
    content, icon('close')), 'filter.remove', {}, 'title'));
  const chips = state.facets.flatMap(([field, values]) => values.map((value) => chip(
    make('bdi', {}, valueText(value)), () => acts.toggle(field, value))));
  if (state.filter) {
    chips.push(chip(make('code', {dir: 'ltr'}, state.filter), () => acts.filter('')));
  }
  return chips;
}
