// The pictures of a collection, in the order of their numbers, all or those a filter lets through; each can be looked
// at, changed and deleted, and all that the filter lets through can be deleted at once.

import {browse, count} from '../api.js';
import {caption} from '../card.js';
import {make} from '../dom.js';
import {Grid} from '../grid.js';
import {say} from '../i18n.js';
import {prepare} from '../picture.js';
import {thumb} from '../thumbs.js';
import {expressionForm} from './expression_form.js';
import {noneYet} from './new_collection.js';
import {
  button, chosenCollection, collectionSelect, complaint, confirmed, dialog, dialogActions, failed, field, heading, missing, rememberCollection,
} from './parts.js';
import {parseRecord, writeRecord, wrongBrief} from './record_text.js';
import {deleteImage, deleteImages, imageText, patchImage, replacePicture} from './routes.js';

const PAGE = 200;

/** The form of one record. `changed()` is told after something was saved or deleted. */
async function edit(collection, record, changed) {
  const {fileid} = record;
  const {itemid, tags, brief} = parseRecord(await imageText(collection, fileid));
  const item = make('input', {type: 'text', inputmode: 'numeric', value: itemid, autocomplete: 'off'});
  const tagText = make('textarea', {rows: String(Math.min(6, Math.max(2, tags.length))), spellcheck: 'false', dir: 'auto'});
  const briefText = make('textarea', {rows: String(Math.min(12, brief.split('\n').length + 1)), spellcheck: 'false', dir: 'ltr'});
  tagText.value = tags.join('\n');
  briefText.value = brief;
  const file = make('input', {type: 'file', accept: 'image/*,.avif,.heic,.heif', class: 'visually-hidden', tabindex: '-1', 'aria-hidden': 'true'});
  const picture = make('div', {class: 'edit-picture'}, thumb(record.thumbnail));
  const wrong = complaint();
  let chosen = null;
  file.addEventListener('change', () => {
    chosen = file.files[0] ?? null;
    if (chosen) {
      const address = URL.createObjectURL(chosen);
      const image = make('img', {alt: '', src: address});
      image.addEventListener('load', () => URL.revokeObjectURL(address));
      picture.replaceChildren(image);
    }
  });
  const save = async (close) => {
    const problem = wrongBrief(briefText.value);
    if (!/^-?\d{1,19}$/.test(item.value.trim())) {
      wrong.say('edit.item.wrong');
      item.focus();
      return;
    }
    if (problem) {
      wrong.say(`edit.brief.${problem}`);
      briefText.focus();
      return;
    }
    try {
      const wanted = tagText.value.split('\n').map((one) => one.trim()).filter(Boolean);
      await patchImage(collection, fileid, writeRecord({itemid: item.value.trim(), tags: wanted, brief: briefText.value}));
      if (chosen) {
        await replacePicture(collection, fileid, await prepare(chosen));
      }
      close();
      changed();
    } catch (failure) {
      wrong.show(failure);
    }
  };
  dialog('edit.title', {fileid}, (close, head) => [make('form', {class: 'edit', novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    save(close);
  }}, make('div', {class: 'edit-side'}, picture, button('edit.replace', () => file.click(), {picture: 'picture'}), file),
  make('div', {class: 'edit-fields'}, head, field('edit.item', item), field('edit.tags', tagText, 'edit.tags.hint'), field('edit.brief', briefText, 'edit.brief.hint'),
    wrong.line, dialogActions(
      button('edit.delete', async () => {
        const done = await confirmed({title: 'edit.delete.title', text: 'edit.delete.text', values: {fileid}, action: 'edit.delete'}, () => deleteImage(collection, fileid));
        if (done) {
          close();
          changed();
        }
      }, {look: 'secondary danger', picture: 'trash'}),
      button('cancel', close), button('edit.save', null, {look: 'primary', type: 'submit'}))))], 'wide');
}

function browseCard(record, open) {
  const title = caption(record);
  return make('li', {class: 'hit'}, make('button', {class: 'card', type: 'button', 'data-fileid': record.fileid, onclick: open},
    make('span', {class: 'frame'}, thumb(record.thumbnail)),
    make('span', {class: 'facts'},
      title ? make('bdi', {class: 'caption', title}, title) : make('span', {class: 'caption'}, say(make('span'), 'details.untitled', {fileid: record.fileid})),
      make('span', {class: 'figures'}, make('span', {class: 'identifier'}, record.fileid)))));
}

class Browser {
  #place;
  #grid;
  #list = make('ul', {class: 'hits small'});
  #outcome = make('div');
  #records = [];
  #next = null;
  #busy = false;
  #control = new AbortController();
  #status = make('p', {class: 'page-status', role: 'status'});
  filter = '';

  constructor(collection) {
    this.collection = collection;
    say(this.#list, 'manage.browse', {}, 'aria-label');
    this.#place = make('div', {}, this.#status, this.#list, this.#outcome);
    this.#grid = new Grid(this.#list, (index) => browseCard(this.#records[index], () => this.#edit(index)), () => this.#more());
  }

  get element() {
    return this.#place;
  }

  async load() {
    this.#control.abort();
    this.#control = new AbortController();
    this.#records = [];
    this.#next = null;
    this.#busy = false;
    this.#outcome.replaceChildren();
    await this.#page();
    const {signal} = this.#control;
    count(this.collection, this.filter, signal).then((all) => say(this.#status, 'browse.count', {count: all}), () => {
      this.#status.textContent = '';
    });
  }

  #more() {
    if (this.#next !== null) {
      this.#page();
    }
  }

  async #page() {
    if (this.#busy) {
      return;
    }
    this.#busy = true;
    const {signal} = this.#control;
    const isFirst = this.#records.length === 0;
    try {
      const {images, next} = await browse(this.collection, {after: this.#next, limit: PAGE, filter: this.filter}, signal);
      if (signal.aborted) {
        return;
      }
      this.#records.push(...images);
      this.#next = next;
      this.#busy = false;
      if (isFirst) {
        this.#grid.reset(this.#records.length);
      } else {
        this.#grid.resize(this.#records.length);
      }
      if (this.#records.length === 0) {
        this.#outcome.replaceChildren(missing(this.filter ? 'browse.nothing' : 'browse.empty'));
      }
    } catch (failure) {
      if (!signal.aborted) {
        this.#busy = false;
        this.#outcome.replaceChildren(failed(failure, () => this.load()));
      }
    }
  }

  async #edit(index) {
    try {
      await edit(this.collection, this.#records[index], () => this.load());
    } catch (failure) {
      this.#outcome.replaceChildren(failed(failure));
      if (failure.kind === 'missing') {
        this.load();
      }
    }
  }

  close() {
    this.#control.abort();
    this.#grid.reset(0);
  }
}

export async function open(place, context) {
  await context.reload();
  const all = context.collections();
  const chosen = chosenCollection(all);
  if (!chosen) {
    place.append(heading('browse'), noneYet((name) => {
      rememberCollection('browse', name);
      context.again();
    }));
    return null;
  }
  const browser = new Browser(chosen.name);
  const remove = button('browse.delete', async () => {
    const matching = await count(browser.collection, browser.filter);
    const done = await confirmed({
      title: 'browse.delete.title', text: 'browse.delete.text', values: {count: matching, name: browser.collection, filter: browser.filter},
      action: 'browse.delete', word: String(matching),
    }, () => deleteImages(browser.collection, browser.filter));
    if (done) {
      browser.load();
    }
  }, {look: 'secondary danger', picture: 'trash'});
  remove.hidden = true;
  const {form, expression} = expressionForm((filter) => {
    if (filter !== browser.filter) {
      browser.filter = filter;
      remove.hidden = !filter;
      browser.load();
    }
  });
  expression.show(chosen.name, '');
  const collection = field('collection', collectionSelect(all, chosen.name, (name) => {
    rememberCollection('browse', name);
    browser.collection = name;
    browser.filter = '';
    remove.hidden = true;
    expression.show(name, '');
    browser.load();
  }));
  place.append(heading('browse'), make('div', {class: 'tools'}, collection, form, remove), browser.element);
  await browser.load();
  return () => browser.close();
}
