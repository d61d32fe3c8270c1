// One hit, large, with everything that is known about it. Left and right go through the hits.

import {byId, make} from './dom.js';
import {say} from './i18n.js';
import {caption, distanceText, pictureOf, tagList} from './results.js';

/** A value of `brief` as text; long integers are strings of digits already (json64.js). */
function valueText(value) {
  return value !== null && typeof value === 'object' ? JSON.stringify(value, null, 2) : String(value);
}

function facts(hit) {
  const rows = [
    ['hit.distance', distanceText(hit.distance)], ['hit.item', hit.itemid], ['hit.file', hit.fileid],
  ].map(([key, value]) => [say(make('dt'), key), make('dd', {class: 'number'}, value)]);
  if (hit.tags.length) {
    rows.push([say(make('dt'), 'hit.tags'), make('dd', {}, tagList(hit.tags))]);
  }
  for (const [name, value] of Object.entries(hit.brief)) {
    rows.push([make('dt', {}, make('bdi', {}, name)), make('dd', {dir: 'auto', tabindex: '-1'}, valueText(value))]);
  }
  return rows.flat();
}

export class Details {
  #dialog = byId('details');
  #results;
  #index = 0;

  /** `like(fileid)` starts a search with a picture of the collection. */
  constructor(results, like) {
    this.#results = results;
    const dialog = this.#dialog;
    byId('details-close').addEventListener('click', () => dialog.close());
    byId('details-before').addEventListener('click', () => this.#step(-1));
    byId('details-after').addEventListener('click', () => this.#step(1));
    byId('details-like').addEventListener('click', () => {
      const {fileid} = this.#results.hits[this.#index];
      dialog.close();
      like(fileid);
    });
    dialog.addEventListener('keydown', (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (step) {
        event.preventDefault();
        this.#step(step);
      }
    });
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog) {
        dialog.close();
      }
    });
    dialog.addEventListener('close', () => this.#results.focus(this.#index));
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

  #step(by) {
    if (this.#results.hits[this.#index + by]) {
      this.#show(this.#index + by);
    }
  }

  #show(index) {
    const hit = this.#results.hits[index];
    const title = caption(hit);
    this.#index = index;
    byId('details-picture').replaceChildren(pictureOf(hit, {width: 480, height: 640}));
    byId('details-title').replaceChildren(
      title ? make('bdi', {}, title) : say(make('span'), 'details.untitled', {fileid: hit.fileid}));
    byId('details-facts').replaceChildren(...facts(hit));
    byId('details-before').disabled = index === 0;
    byId('details-after').disabled = index === this.#results.hits.length - 1;
    byId('details-like').hidden = !hit.thumbnail;
    byId('details-body').scrollTop = 0;
  }
}
