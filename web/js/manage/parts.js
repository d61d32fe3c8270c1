// What the pages of the administration are made of.

import {icon, make} from '../dom.js';
import {language, say} from '../i18n.js';
import {failureNotice} from '../notice.js';

export function heading(key, ...actions) {
  return make('header', {class: 'page-head'},
    make('div', {}, say(make('h1', {}), `manage.${key}`), say(make('p'), `manage.${key}.text`)),
    actions.length ? make('div', {class: 'page-actions'}, ...actions) : null);
}

export function button(key, run, {look = 'secondary', picture = null, values = {}, type = 'button'} = {}) {
  return make('button', {class: look, type, onclick: run}, picture ? icon(picture) : null, say(make('span'), key, values));
}

/** A labelled control. `hint` is the key of a line below it. */
export function field(key, control, hint = null) {
  return make('label', {class: 'field'}, say(make('span'), key), control, hint ? say(make('small'), hint) : null);
}

export function check(key, isOn) {
  const input = make('input', {type: 'checkbox', checked: isOn});
  return {input, label: make('label', {class: 'check'}, input, say(make('span'), key))};
}

/** [[value, key or text]] as a select; a text that is data is given as {text}. */
export function select(options, chosen, onchange) {
  const list = make('select', onchange ? {onchange: (event) => onchange(event.target.value)} : {});
  list.append(...options.map(([value, label]) => {
    const option = make('option', {value});
    if (typeof label === 'object') {
      option.textContent = label.text;
    } else {
      say(option, label);
    }
    return option;
  }));
  if (chosen !== null && chosen !== undefined) {
    list.value = chosen;
  }
  return list;
}

export function collectionSelect(collections, chosen, onchange) {
  return select(collections.map(({name}) => [name, {text: name}]), chosen, onchange);
}

/** The collection the address names, else the last one used here, else the largest. */
export function chosenCollection(collections) {
  const asked = new URLSearchParams(location.search).get('collection');
  const found = collections.find(({name}) => name === asked);
  return found ?? collections.reduce((best, one) => (best && best.count >= one.count ? best : one), null);
}

export function rememberCollection(page, name) {
  history.replaceState(null, '', `/?${new URLSearchParams({page, collection: name})}`);
}

/** A dialog that is made for one question and gone afterwards. `fill(close)` gives its content. */
export function dialog(titleKey, values, fill, look = '') {
  const box = make('dialog', {class: `ask ${look}`, 'aria-labelledby': 'ask-title'});
  const close = () => box.close();
  box.append(...fill(close, say(make('h2', {id: 'ask-title'}), titleKey, values)));
  box.addEventListener('close', () => box.remove());
  box.addEventListener('click', (event) => event.target === box && close());
  document.body.append(box);
  box.showModal();
  return box;
}

export function dialogActions(...buttons) {
  return make('div', {class: 'dialog-actions'}, ...buttons);
}

/** A place for what went wrong inside a form. */
export function complaint() {
  const line = make('p', {class: 'field-error', role: 'alert', hidden: true});
  return {
    line,
    show(failure) {
      line.replaceChildren(failure.detail ? make('span', {dir: 'auto'}, failure.detail)
        : say(make('span'), `failure.${failure.kind ?? 'page'}`));
      line.hidden = false;
    },
    say(key, values) {
      line.replaceChildren(say(make('span'), key, values));
      line.hidden = false;
    },
    clear() {
      line.hidden = true;
    },
  };
}

/**
 * Ask before something is done that cannot be undone. With `word`, it has to be typed. `run` may fail; the dialog stays
 * open then and says why. Resolves to whether it was done.
 */
export function confirmed({title, text, values = {}, action, word = null}, run) {
  return new Promise((resolve) => {
    let done = false;
    const wrong = complaint();
    const input = make('input', {type: 'text', autocomplete: 'off', spellcheck: 'false'});
    const box = dialog(title, values, (close, head) => {
      const go = button(action, null, {look: 'primary danger', type: 'submit', values});
      go.disabled = word !== null;
      input.addEventListener('input', () => {
        go.disabled = input.value !== word;
      });
      return [make('form', {onsubmit: async (event) => {
        event.preventDefault();
        go.disabled = true;
        try {
          await run();
          done = true;
          close();
        } catch (failure) {
          go.disabled = false;
          wrong.show(failure);
        }
      }}, head, say(make('p'), text, values),
      word === null ? null : make('label', {class: 'field'}, say(make('span'), 'ask.type', {name: word}), input), wrong.line,
      dialogActions(button('cancel', close), go))];
    });
    box.addEventListener('close', () => resolve(done));
    if (word !== null) {
      input.focus();
    }
  });
}

export function failed(failure, again) {
  return failureNotice(failure, {name: ''}, again ? [{key: 'again', run: again}] : []);
}

/** What a page says where its route is not there. */
export function missing(key) {
  return make('p', {class: 'page-note'}, icon('warning'), say(make('span'), key));
}

export function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = number;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export const number = (value) => new Intl.NumberFormat(language()).format(value);

/** A moment the server gave (ISO text, or seconds since 1970), in the reader's own way; '' for none. */
export function moment(value) {
  if (value === null || value === undefined || value === '') {
    return '';
  }
  const date = new Date(typeof value === 'number' ? value * 1000 : value);
  return Number.isNaN(date.getTime()) ? String(value)
    : new Intl.DateTimeFormat(language(), {dateStyle: 'medium', timeStyle: 'short'}).format(date);
}

export function progress(part, key, values) {
  const bar = make('div', {class: 'progress', role: 'progressbar', 'aria-valuemin': '0', 'aria-valuemax': '100'});
  const fill = make('span');
  bar.append(fill);
  const set = (now) => {
    const isKnown = now !== null && Number.isFinite(now);
    bar.classList.toggle('unknown', !isKnown);
    fill.style.width = `${isKnown ? Math.min(100, now * 100).toFixed(1) : 100}%`;
    if (isKnown) {
      bar.setAttribute('aria-valuenow', String(Math.round(now * 100)));
    } else {
      bar.removeAttribute('aria-valuenow');
    }
  };
  say(bar, key, values, 'aria-label');
  set(part);
  return {bar, set};
}

/** Run `work` now and every `milliseconds` while the page is visible; the returned function stops it. */
export function repeatedly(work, milliseconds) {
  let timer = 0;
  let stopped = false;
  const turn = async () => {
    if (document.visibilityState === 'visible') {
      await work();
    }
    if (!stopped) {
      timer = setTimeout(turn, milliseconds);
    }
  };
  turn();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
