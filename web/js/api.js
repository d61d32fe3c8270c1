// The routes of /v1 that the page uses. Identifiers are strings of digits here (json64.js says why). Every failure is
// a Failure, whose `kind` the page has words for and whose `detail` is the server's own sentence, if there was one.

import {parse} from './json64.js';

export class Failure extends Error {
  constructor(kind, detail = '') {
    super(detail || kind);
    this.kind = kind;
    this.detail = detail;
  }
}

const KINDS = new Map([
  [401, 'denied'], [403, 'denied'], [404, 'missing'], [408, 'slow'], [413, 'large'], [415, 'picture'],
  [422, 'picture'], [429, 'busy'], [502, 'fetch'], [503, 'busy'], [504, 'slow'],
]);
const BY_STATUS = new Set(['denied', 'large', 'busy']); // whatever the field at fault is

function kindOf(status, field) {
  const kind = KINDS.get(status) ?? (status < 500 ? 'refused' : 'server');
  return field === 'url' && !BY_STATUS.has(kind) ? 'fetch' : kind;
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw error.name === 'AbortError' ? error : new Failure('offline');
  }
  if (response.ok) {
    return response;
  }
  let detail = '';
  let field = '';
  try {
    const problem = parse(await response.text());
    detail = String(problem.detail ?? problem.title ?? '');
    field = problem.field;
  } catch {
    // Not the server's own reply, but that of something between: the status has to do.
  }
  throw new Failure(kindOf(response.status, field), detail);
}

async function json(path, options) {
  const response = await request(path, options);
  try {
    return parse(await response.text());
  } catch (error) {
    throw error.name === 'AbortError' ? error : new Failure('server');
  }
}

const at = (collection) => `/v1/collections/${encodeURIComponent(collection)}`;

/** Only pictures of this server are shown; anything else counts as "no thumbnail". */
function ownAddress(address) {
  if (typeof address !== 'string') {
    return null;
  }
  const url = new URL(address, location.href);
  return url.origin === location.origin ? url.pathname + url.search : null;
}

function record(raw) {
  return {
    fileid: String(raw.fileid),
    itemid: String(raw.itemid),
    tags: Array.isArray(raw.tags) ? raw.tags.map(String) : [],
    brief: raw.brief !== null && typeof raw.brief === 'object' ? raw.brief : {},
    distance: Number(raw.distance),
    thumbnail: ownAddress(raw.thumbnail),
  };
}

export async function listCollections() {
  const {collections} = await json('/v1/collections');
  return collections.map(({name, count}) => ({name: String(name), count: Number(count)}));
}

export async function browse(collection, after, limit, signal) {
  const parameters = new URLSearchParams({limit});
  if (after !== null) {
    parameters.set('after', after);
  }
  const {images} = await json(`${at(collection)}/images?${parameters}`, {signal});
  return images.map(record);
}

export const thumbnailAddress = (collection, fileid) => `${at(collection)}/images/${fileid}/thumbnail`;

export async function thumbnail(collection, fileid, signal) {
  return (await request(thumbnailAddress(collection, fileid), {signal})).blob();
}

/** `picture` is a Blob, sent as it is, or the address of a picture that the server fetches. */
export async function search(collection, picture, {limit, offset}, signal) {
  const path = `${at(collection)}/search?${new URLSearchParams({limit, offset})}`;
  const isAddress = typeof picture === 'string';
  const reply = await json(path, {
    method: 'POST',
    headers: {'Content-Type': isAddress ? 'application/json' : picture.type},
    body: isAddress ? JSON.stringify({url: picture, limit, offset}) : picture,
    signal,
  });
  return {hits: reply.hits.map(record), milliseconds: Number(reply.took_ms)};
}
