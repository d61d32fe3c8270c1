// One search, page after page. A newer search aborts this one; nothing of an aborted search is ever shown.

import {search, thumbnail} from './api.js';
import {prepare} from './picture.js';
import {wholeFilter} from './state.js';

const FIRST_PAGE = 48; // soon on the screen
const PAGE = 500; // for the counts of the similarity slider, and for whoever scrolls far
const WINDOW = 16384; // the server's limit on offset + limit

const asDataAddress = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(blob);
});

/** A picture as a member of the request. Part of a record is part of what is kept of it: its thumbnail. */
async function member(collection, {kind, file, url, fileid, region, sign}, signal) {
  const asked = region ? {region} : {};
  if (sign < 0) {
    asked.weight = -1;
  }
  if (kind === 'url') {
    return {...asked, url};
  }
  if (kind === 'record' && !region) {
    return {...asked, fileid};
  }
  const blob = kind === 'file' ? await prepare(file) : await thumbnail(collection, fileid, signal);
  return {...asked, image: await asDataAddress(blob)};
}

export async function bodyOf({collection, pictures}, signal) {
  const [first] = pictures;
  if (pictures.length === 1 && first.kind === 'file' && !first.region) {
    return prepare(first.file); // as it is: no base64
  }
  const members = await Promise.all(pictures.map((one) => member(collection, one, signal)));
  return members.length === 1 ? members[0] : {queries: members};
}

export class Search {
  #control = new AbortController();
  #body = null;

  constructor(state) {
    this.state = state;
    this.loaded = 0;
    this.finished = false;
    this.busy = false;
  }

  abort() {
    this.#control.abort();
  }

  get aborted() {
    return this.#control.signal.aborted;
  }

  get signal() {
    return this.#control.signal;
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
    this.#body ??= await bodyOf(this.state, signal);
    const limit = Math.min(this.loaded === 0 ? FIRST_PAGE : PAGE, WINDOW - this.loaded);
    const page = await search(this.state.collection, this.#body, {
      limit, offset: this.loaded, filter: wholeFilter(this.state) || undefined, group: this.state.group ? undefined : false,
    }, signal);
    this.loaded += page.hits.length;
    this.finished = page.hits.length < limit || this.loaded >= WINDOW;
    return page;
  }
}
