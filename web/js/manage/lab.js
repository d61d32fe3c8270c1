// The same picture searched with two settings, side by side: what changes, and what it costs.

import {thumbnail} from '../api.js';
import {distanceText, similarityText} from '../card.js';
import {icon, make} from '../dom.js';
import {say} from '../i18n.js';
import {prepare} from '../picture.js';
import {releaseIn, thumb} from '../thumbs.js';
import {expressionForm} from './expression_form.js';
import {noneYet} from './new_collection.js';
import {button, check, chosenCollection, collectionSelect, failed, field, heading, missing} from './parts.js';
import {rawSearch} from './routes.js';

const asText = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(blob);
});

class Setting {
  filter = '';
  hits = [];
  #control = new AbortController();
  #list = make('ol', {class: 'lab-hits'});
  #line = make('p', {class: 'page-status', role: 'status'});
  #outcome = make('div');

  constructor(letter, collections, chosen, changed) {
    this.collection = collectionSelect(collections, chosen, changed);
    this.exact = check('lab.exact', letter === 'B');
    this.group = check('group', true);
    this.limit = make('input', {type: 'number', min: '1', max: '200', value: '20'});
    this.least = make('input', {type: 'number', min: '0', max: '100', value: '', placeholder: '0'});
    const {form, expression} = expressionForm((filter) => {
      if (filter !== this.filter) {
        this.filter = filter;
        changed();
      }
    });
    expression.show(chosen, '');
    for (const input of [this.exact.input, this.group.input, this.limit, this.least]) {
      input.addEventListener('change', changed);
    }
    this.element = say(make('section', {class: 'panel lab-side'},
      make('h2', {}, letter), make('div', {class: 'form-grid'}, field('collection', this.collection), field('lab.limit', this.limit), field('lab.least', this.least)),
      make('div', {class: 'checks'}, this.exact.label, this.group.label), form, this.#line, this.#outcome, this.#list), 'lab.setting', {letter}, 'aria-label');
  }

  async run(query) {
    this.#control.abort();
    this.#control = new AbortController();
    const {signal} = this.#control;
    const asked = {...query, limit: Math.max(1, Number(this.limit.value) || 20), group: this.group.input.checked, exact: this.exact.input.checked};
    if (this.filter) {
      asked.filter = this.filter;
    }
    if (Number(this.least.value) > 0) {
      asked.min_similarity = Number(this.least.value);
    }
    try {
      const start = performance.now();
      const reply = await rawSearch(this.collection.value, asked, signal);
      this.hits = reply.hits;
      this.#outcome.replaceChildren();
      say(this.#line, 'lab.took', {count: reply.hits.length, server: reply.milliseconds.toFixed(1), all: (performance.now() - start).toFixed(0)});
    } catch (failure) {
      if (failure.name === 'AbortError') {
        return false;
      }
      this.hits = [];
      this.#line.textContent = '';
      this.#outcome.replaceChildren(failed(failure));
    }
    return true;
  }

  /** Show the hits; those the other setting does not have are marked, with where the others stand there. */
  show(other) {
    const places = new Map(other.hits.map(({fileid}, index) => [fileid, index]));
    releaseIn(this.#list);
    this.#list.replaceChildren(...this.hits.map((hit, index) => {
      const there = places.get(hit.fileid);
      const moved = there === undefined ? null : there - index;
      const note = make('span', {class: `lab-move ${there === undefined ? 'only' : moved === 0 ? 'same' : moved > 0 ? 'up' : 'down'}`});
      if (there === undefined) {
        say(note, 'lab.only');
      } else {
        note.textContent = moved === 0 ? '=' : moved > 0 ? `↑${moved}` : `↓${-moved}`;
      }
      return make('li', {class: there === undefined ? 'only' : ''}, thumb(hit.thumbnail, {width: 90, height: 120}),
        make('span', {class: 'lab-figures'}, make('b', {}, hit.similarity === null ? distanceText(hit.distance) : similarityText(hit.similarity)), note));
    }));
  }
}

export async function open(place, context) {
  await context.reload();
  const all = context.collections().filter(({count}) => count > 0);
  const chosen = chosenCollection(all);
  if (!chosen) {
    place.append(heading('lab'), context.collections().length > 0 ? missing('lab.none') : noneYet(() => context.again()));
    return null;
  }
  let query = null;
  const summary = make('p', {class: 'lab-summary', role: 'status'});
  const picture = make('div', {class: 'lab-picture'}, icon('picture'));
  const sides = [];
  const run = async () => {
    if (!query) {
      return;
    }
    await Promise.all(sides.map((side) => side.run(query)));
    const [a, b] = sides;
    a.show(b);
    b.show(a);
    const common = a.hits.filter(({fileid}) => b.hits.some((one) => one.fileid === fileid)).length;
    const same = a.hits.findIndex((hit, index) => b.hits[index]?.fileid !== hit.fileid);
    say(summary, 'lab.summary', {common, of: Math.max(a.hits.length, b.hits.length), same: same < 0 ? a.hits.length : same});
  };
  sides.push(new Setting('A', all, chosen.name, run), new Setting('B', all, chosen.name, run));
  const use = async (blob) => {
    const address = URL.createObjectURL(blob);
    const image = make('img', {alt: '', src: address});
    image.addEventListener('load', () => URL.revokeObjectURL(address));
    picture.replaceChildren(image);
    query = {image: await asText(blob)};
    run();
  };
  const file = make('input', {type: 'file', id: 'lab-file', accept: 'image/*,.avif,.heic,.heif', hidden: true});
  file.addEventListener('change', async () => {
    if (file.files[0]) {
      try {
        await use(await prepare(file.files[0]));
      } catch (failure) {
        summary.replaceChildren(failed(failure));
      }
    }
    file.value = '';
  });
  const number = make('input', {type: 'text', inputmode: 'numeric', autocomplete: 'off'});
  const byNumber = make('form', {class: 'lab-number', novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    if (/^-?\d{1,19}$/.test(number.value.trim())) {
      try {
        await use(await thumbnail(sides[0].collection.value, number.value.trim()));
      } catch (failure) {
        summary.replaceChildren(failed(failure));
      }
    }
  }}, field('lab.fileid', number), button('address.search', null, {type: 'submit'}));
  place.append(heading('lab'),
    make('div', {class: 'panel lab-query'}, picture, make('div', {class: 'lab-ways'}, button('choose', () => file.click(), {look: 'primary', picture: 'picture'}), file, byNumber), summary),
    make('div', {class: 'lab-sides'}, ...sides.map(({element}) => element)));
  return null;
}
