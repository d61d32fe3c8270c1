// A field for an expression of the filter language. While somebody types it says how many pictures match, or what is
// wrong, under the very character.

import {count} from './api.js';
import {make} from './dom.js';
import {say} from './i18n.js';

const PAUSE = 300; // ms after the last key
const BEFORE = 48; // characters of the expression shown before the one at fault
const AFTER = 24;

/** The expression with the character at `column` (1-based, in characters) marked; a long one only around it. */
function excerpt(typed, column) {
  const characters = [...typed];
  const at = Math.min(Math.max(0, column - 1), characters.length);
  const start = Math.max(0, at - BEFORE);
  const end = at + 1 + AFTER;
  return make('code', {class: 'expression-excerpt', dir: 'ltr'},
    (start > 0 ? '…' : '') + characters.slice(start, at).join(''),
    make('mark', {}, characters[at] ?? '\u00a0'),
    characters.slice(at + 1, end).join('') + (characters.length > end ? '…' : ''));
}

export class Expression {
  #form;
  #input;
  #status;
  #error;
  #apply;
  #collection = null;
  #timer = 0;
  #control = new AbortController();

  /** `form` holds an input, .expression-status and .expression-error. `apply(filter)` gets what is valid. */
  constructor(form, apply) {
    this.#form = form;
    this.#input = form.querySelector('input');
    this.#status = form.querySelector('.expression-status');
    this.#error = form.querySelector('.expression-error');
    this.#apply = apply;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#check(0);
    });
    this.#input.addEventListener('input', () => this.#check(PAUSE));
    this.#input.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.#input.value) {
        event.stopPropagation();
        this.#input.value = '';
        this.#check(0);
      }
    });
  }

  /** Show what is asked for, unless somebody is typing. */
  show(collection, filter) {
    const isNew = collection !== this.#collection;
    this.#collection = collection;
    if (isNew || (document.activeElement !== this.#input && this.#input.value.trim() !== filter)) {
      this.#input.value = filter;
      this.#clear();
    }
  }

  #clear() {
    this.#status.hidden = true;
    this.#error.hidden = true;
    this.#input.removeAttribute('aria-invalid');
  }

  #check(pause) {
    clearTimeout(this.#timer);
    this.#control.abort();
    this.#control = new AbortController();
    const typed = this.#input.value.trim();
    if (!typed) {
      this.#clear();
    }
    const {signal} = this.#control;
    this.#timer = setTimeout(() => this.#ask(typed, signal), pause);
  }

  async #ask(typed, signal) {
    if (typed) {
      try {
        const found = await count(this.#collection, typed, signal);
        this.#clear();
        this.#status.hidden = false;
        say(this.#status, 'filter.count', {count: found});
      } catch (failure) {
        if (signal.aborted) {
          return;
        }
        if (failure.kind === 'refused') {
          this.fail(failure, typed);
          return;
        }
        this.#clear(); // counting is not to be had; the search itself will say
      }
    }
    if (!signal.aborted) {
      this.#apply(typed);
    }
  }

  /** What the server says is wrong. */
  fail({detail, column}, typed = this.#input.value.trim()) {
    this.#status.hidden = true;
    this.#input.setAttribute('aria-invalid', 'true');
    this.#error.replaceChildren(...(column ? [excerpt(typed, column)] : []), make('span', {dir: 'auto'}, detail));
    this.#error.hidden = false;
  }
}
