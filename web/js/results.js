// The hits: all that have come so far, of which those alike enough are in the grid. They come nearest first, so the
// similarity slider cuts the list and nothing has to be asked again.

import {browse} from './api.js';
import {card, viewsBadge} from './card.js';
import {make} from './dom.js';
import {Grid} from './grid.js';

const VIEWS_AT_ONCE = 40; // items asked about in one request
const VIEWS_LIMIT = 1000;

export class Results {
  #list;
  #grid;
  #views = new Map(); // itemid → number of its pictures
  #options = {byFile: false};
  #wanted = new Set();
  hits = [];
  least = 0;

  /** `acts`: open(index), more(fileid), less(fileid), nearEnd(). */
  constructor(list, acts) {
    this.#list = list;
    this.#grid = new Grid(list, (index) => this.#card(index, acts), acts.nearEnd);
  }

  #card(index, acts) {
    const hit = this.hits[index];
    this.#ask(hit.itemid);
    return card(hit, {
      open: () => acts.open(index), more: () => acts.more(hit.fileid), less: () => acts.less(hit.fileid),
    }, {...this.#options, views: this.#options.byFile ? 0 : (this.#views.get(hit.itemid) ?? 1) - 1});
  }

  /** A new search: `collection` for the views, `byFile` where hits are not grouped. */
  begin(options) {
    this.#options = options;
    this.#views.clear();
    this.#wanted.clear();
  }

  clear() {
    this.hits = [];
    this.#grid.reset(0);
  }

  /** Empty frames while the first page is on its way; they show only if it takes a moment. */
  wait(count) {
    this.clear();
    this.#list.append(...Array.from({length: count}, () => make('li', {class: 'hit waiting', 'aria-hidden': 'true'},
      make('span', {class: 'frame'}))));
  }

  /** The first page of a search replaces what was there. */
  replace(hits) {
    this.hits = hits;
    this.#grid.reset(this.shown);
  }

  append(hits) {
    this.hits.push(...hits);
    this.#grid.resize(this.shown);
  }

  setLeast(least) {
    this.least = least;
    this.#grid.resize(this.shown);
  }

  /** How many of the hits are alike enough. */
  countFrom(least) {
    let [low, high] = [0, this.hits.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.hits[middle].similarity ?? 100) >= least) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  get shown() {
    return this.countFrom(this.least);
  }

  focus(index) {
    this.#grid.focus(index);
  }

  // --- the other views of an item: asked for together, for the cards that came on the screen ---

  #ask(itemid) {
    if (this.#options.byFile || !this.#options.collection || this.#views.has(itemid) || this.#wanted.has(itemid)) {
      return;
    }
    this.#wanted.add(itemid);
    if (this.#wanted.size === 1) {
      setTimeout(() => this.#askViews(), 60);
    }
  }

  async #askViews() {
    const items = [...this.#wanted].slice(0, VIEWS_AT_ONCE);
    const {collection} = this.#options;
    const hadItems = items.length;
    for (const item of items) {
      this.#wanted.delete(item);
    }
    if (hadItems === 0) {
      return;
    }
    try {
      const filter = `itemid in [${items.join(', ')}]`;
      const {images, next} = await browse(collection, {limit: VIEWS_LIMIT, filter});
      if (collection === this.#options.collection && next === null) {
        this.#showViews(items, images);
      }
    } catch {
      // Without it the cards just do not say how many views there are.
    }
    if (this.#wanted.size > 0) {
      this.#askViews();
    }
  }

  #showViews(items, images) {
    for (const item of items) {
      this.#views.set(item, images.filter((image) => image.itemid === item).length);
    }
    for (const element of this.#list.querySelectorAll('.hit[data-index]')) {
      const hit = this.hits[Number(element.dataset.index)];
      const views = (this.#views.get(hit?.itemid) ?? 1) - 1;
      if (views > 0 && !element.querySelector('.views')) {
        element.querySelector('.frame').append(viewsBadge(views));
      }
    }
  }
}
