// One search, page after page. A newer search aborts this one; nothing of an aborted search is ever shown.

import {search, thumbnail} from './api.js';
import {prepare} from './picture.js';

const PAGE = 36;
const WINDOW = 16384; // the server's limit on offset + limit

async function pictureOf(collection, query, signal) {
  if (query.kind === 'url') {
    return query.url;
  }
  return query.kind === 'file' ? prepare(query.file) : thumbnail(collection, query.fileid, signal);
}

export class Search {
  #control = new AbortController();
  #picture = null;

  constructor(collection, query) {
    this.collection = collection;
    this.query = query;
    this.shown = 0;
    this.finished = false;
    this.busy = false;
  }

  abort() {
    this.#control.abort();
  }

  get aborted() {
    return this.#control.signal.aborted;
  }

  /** The next page: {hits, milliseconds}. Not to be called while `busy`. */
  async next() {
    this.busy = true;
    try {
      return await this.#next();
    } finally {
      this.busy = false;
    }
  }

  async #next() {
    const {signal} = this.#control;
    this.#picture ??= await pictureOf(this.collection, this.query, signal);
    const limit = Math.min(PAGE, WINDOW - this.shown);
    const page = await search(this.collection, this.#picture, {limit, offset: this.shown}, signal);
    this.shown += page.hits.length;
    this.finished = page.hits.length < limit || this.shown >= WINDOW;
    return page;
  }
}
