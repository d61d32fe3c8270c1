// The routes of /v1 that searching uses. Identifiers are strings of digits here (json64.js says why). Every failure is
// a Failure, whose `kind` the page has words for and whose `detail` is the server's own sentence, if there was one.

import {askForKey, keyHeader} from './auth.js';
import {parse} from './json64.js';

export class Failure extends Error {
  constructor(kind, detail = '', {status = 0, field = '', column = null} = {}) {
    super(detail || kind);
    Object.assign(this, {kind, detail, status, field, column});
  }
}

const KINDS = new Map([
  [401, 'denied'], [403, 'denied'], [404, 'missing'], [408, 'slow'], [413, 'large'], [415, 'picture'],
  [422, 'picture'], [429, 'busy'], [502, 'fetch'], [503, 'busy'], [504, 'slow'],
]);
const BY_STATUS = new Set(['denied', 'large', 'busy']); // whatever the field at fault is

function kindOf(status, field) {
  const kind = KINDS.get(status) ?? (status < 500 ? 'refused' : 'server');
  return /(^|\.)url$/.test(field) && !BY_STATUS.has(kind) ? 'fetch' : kind;
}

async function failureOf(response) {
  let problem = {};
  try {
    problem = parse(await response.text()) ?? {};
  } catch {
    // Not the server's own reply, but that of something between: the status has to do.
  }
  const field = String(problem.field ?? '');
  const column = Number.isInteger(problem.column) ? problem.column : null;
  return new Failure(kindOf(response.status, field), String(problem.detail ?? problem.title ?? ''),
    {status: response.status, field, column});
}

/** fetch() with the key; a server that wants one is asked again after the person gave it. */
export async function request(path, options = {}) {
  for (;;) {
    let response;
    try {
      response = await fetch(path, {...options, headers: {...options.headers, ...keyHeader()}});
    } catch (error) {
      throw error.name === 'AbortError' ? error : new Failure('offline');
    }
    if (response.ok) {
      return response;
    }
    if (response.status !== 401 || !await askForKey()) {
      throw await failureOf(response);
    }
  }
}

export async function json(path, options) {
  const response = await request(path, options);
  try {
    const text = await response.text();
    return text ? parse(text) : null;
  } catch (error) {
    throw error.name === 'AbortError' ? error : new Failure('server');
  }
}

export const at = (collection) => `/v1/collections/${encodeURIComponent(collection)}`;

/** `path` with those parameters that are given. */
export function withParameters(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** Only pictures of this server are shown; anything else counts as "no thumbnail". */
function ownAddress(address) {
  if (typeof address !== 'string') {
    return null;
  }
  const url = new URL(address, location.href);
  return url.origin === location.origin ? url.pathname + url.search : null;
}

export function record(raw) {
  return {
    fileid: String(raw.fileid),
    itemid: String(raw.itemid),
    tags: Array.isArray(raw.tags) ? raw.tags.map(String) : [],
    brief: raw.brief !== null && typeof raw.brief === 'object' ? raw.brief : {},
    distance: Number(raw.distance),
    similarity: typeof raw.similarity === 'number' ? raw.similarity : null,
    thumbnail: ownAddress(raw.thumbnail),
  };
}

export async function listCollections() {
  const {collections} = await json('/v1/collections');
  return collections.map((raw) => ({...raw, name: String(raw.name), count: Number(raw.count)}));
}

/** {images, next}: `next` is null on the last page. */
export async function browse(collection, {after = null, limit, filter = ''}, signal) {
  const page = await json(withParameters(`${at(collection)}/images`, {after, limit, filter}), {signal});
  return {images: page.images.map(record), next: page.next === null || page.next === undefined ? null : String(page.next)};
}

export async function count(collection, filter, signal) {
  return Number((await json(withParameters(`${at(collection)}/count`, {filter}), {signal})).count);
}

/** [{field, values: [{value, count}], distinct}] */
export async function facets(collection, {field = '', filter = '', limit = 12}, signal) {
  return (await json(withParameters(`${at(collection)}/facets`, {field, filter, limit}), {signal})).facets;
}

export const thumbnailAddress = (collection, fileid) => `${at(collection)}/images/${fileid}/thumbnail`;

export async function thumbnail(collection, fileid, signal) {
  return (await request(thumbnailAddress(collection, fileid), {signal})).blob();
}

/** A small JPEG of a picture that the browser must not fetch ({url}) or cannot read (a Blob). */
export async function thumbnailOf(picture, signal) {
  const isFile = picture instanceof Blob;
  return (await request('/v1/thumbnail', {
    method: 'POST', signal, headers: {'Content-Type': isFile ? picture.type : 'application/json'},
    body: isFile ? picture : JSON.stringify(picture),
  })).blob();
}

/** `body` is a Blob of a picture, with everything else in the query, or an object that is sent as JSON. */
export async function search(collection, body, parameters, signal) {
  const path = `${at(collection)}/search`;
  const isPicture = body instanceof Blob;
  const reply = await json(isPicture ? withParameters(path, parameters) : path, {
    method: 'POST',
    headers: {'Content-Type': isPicture ? body.type : 'application/json'},
    body: isPicture ? body : JSON.stringify({...body, ...parameters}),
    signal,
  });
  return {hits: reply.hits.map(record), milliseconds: Number(reply.took_ms)};
}
