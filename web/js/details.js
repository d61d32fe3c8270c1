// One hit, large, with everything that is known about it and the other pictures of its item. Left and right go through
// the hits.

import {browse} from './api.js';
import {caption, distanceText, similarityText, tagList} from './card.js';
import {byId, make} from './dom.js';
import {say} from './i18n.js';
import {releaseIn, thumb} from './thumbs.js';

const VIEWS_SHOWN = 60;

/** A value of `brief` as text; long integers are strings of digits already (json64.js). */
function valueText(value) {
  return value !== null && typeof value === 'object' ? JSON.stringify(value, null, 2) : String(value);
}

function facts(hit) {
  const rows = [['hit.item', hit.itemid], ['hit.file', hit.fileid]];
  if (Number.isFinite(hit.distance)) {
    rows.unshift(['hit.distance', distanceText(hit.distance)]);
  }
  if (hit.similarity !== null) {
    rows.unshift(['hit.similarity', similarityText(hit.similarity)]);
  }
  const list = rows.map(([key, value]) => [say(make('dt'), key), make('dd', {class: 'number'}, value)]);
  if (hit.tags.length) {
    list.push([say(make('dt'), 'hit.tags'), make('dd', {}, tagList(hit.tags))]);
  }
  for (const [name, value] of Object.entries(hit.brief)) {
    list.push([make('dt', {}, make('bdi', {}, name)), make('dd', {dir: 'auto'}, valueText(value))]);
  }
  return list.flat();
}

export class Details {
  #dialog = byId('details');
  #results;
  #index = 0;
  #shown = null;
  #views = new AbortController();
  collection = null;

  /** `acts`: only(fileid) searches with that picture alone, more(fileid) and less(fileid) add it to the search. */
  constructor(results, acts) {
    this.#results = results;
    const dialog = this.#dialog;
    byId('details-close').addEventListener('click', () => dialog.close());
    byId('details-before').addEventListener('click', () => this.#step(-1));
    byId('details-after').addEventListener('click', () => this.#step(1));
    for (const [id, act] of [['details-only', 'only'], ['details-more', 'more'], ['details-less', 'less']]) {
      byId(id).addEventListener('click', () => {
        const {fileid} = this.#shown;
        dialog.close();
        acts[act](fileid);
      });
    }
    dialog.addEventListener('keydown', (event) => this.#keydown(event));
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog) {
        dialog.close();
      }
    });
    dialog.addEventListener('close', () => {
      this.#views.abort();
      this.#results.focus(this.#index);
    });
  }

  open(index) {
    this.#show(index);
    this.#dialog.showModal();
  }

  close() {
    if (this.#dialog.open) {
      this.#dialog.close();
    }
  }

  #keydown(event) {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    const press = {'+': 'details-more', '-': 'details-less'}[event.key];
    if (step) {
      event.preventDefault();
      this.#step(step);
    } else if (press) {
      byId(press).click();
    }
  }

  #step(by) {
    const next = this.#index + by;
    if (next >= 0 && next < this.#results.shown) {
      this.#show(next);
    }
  }

  #show(index) {
    const hit = this.#results.hits[index];
    this.#index = index;
    this.#fill(hit);
    byId('details-before').disabled = index === 0;
    byId('details-after').disabled = index === this.#results.shown - 1;
    byId('details-views').hidden = true;
    this.#showViews(hit);
  }

  #fill(hit) {
    this.#shown = hit;
    const title = caption(hit);
    releaseIn(byId('details-picture'));
    byId('details-picture').replaceChildren(thumb(hit.thumbnail, {width: 480, height: 640}));
    byId('details-title').replaceChildren(
      title ? make('bdi', {}, title) : say(make('span'), 'details.untitled', {fileid: hit.fileid}));
    byId('details-facts').replaceChildren(...facts(hit));
    byId('details-body').scrollTop = 0;
  }

  async #showViews(hit) {
    this.#views.abort();
    this.#views = new AbortController();
    const {signal} = this.#views;
    const list = byId('details-views-list');
    releaseIn(list);
    list.replaceChildren();
    try {
      const filter = `itemid == ${hit.itemid}`;
      const {images} = await browse(this.collection, {limit: VIEWS_SHOWN, filter}, signal);
      if (signal.aborted || images.length < 2) {
        return;
      }
      byId('details-views').hidden = false;
      list.replaceChildren(...images.map((image) => this.#view(hit, image)));
    } catch {
      // Nothing lost: the hit itself is on show.
    }
  }

  #view(hit, image) {
    const isHit = image.fileid === hit.fileid;
    const button = make('button', {class: 'view', type: 'button', 'aria-pressed': String(isHit), onclick: () => {
      this.#fill(isHit ? hit : image);
      for (const each of byId('details-views-list').querySelectorAll('.view')) {
        each.setAttribute('aria-pressed', String(each === button));
      }
    }}, thumb(image.thumbnail, {width: 64, height: 84}));
    return make('li', {}, say(button, 'details.view', {fileid: image.fileid}, 'aria-label'));
  }
}
