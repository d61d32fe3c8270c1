// What the page shows, as the address in the browser's bar, so that a search can be sent to somebody:
//   /?collection=clothing&url=https://example.com/a.jpg     by the address of a picture
//   /?collection=clothing&like=4711                         by a picture of the collection
// A file from somebody's disk cannot be in an address. It is kept here while the page is open, so that Back and
// Forward work; the oldest are forgotten.

const KEPT = 20;
const files = new Map(); // number in history.state → query
let last = 0;

export function toAddress(collection, query) {
  const parameters = new URLSearchParams();
  if (collection) {
    parameters.set('collection', collection);
  }
  if (query?.kind === 'url') {
    parameters.set('url', query.url);
  } else if (query?.kind === 'record') {
    parameters.set('like', query.fileid);
  }
  const tail = parameters.toString();
  return tail ? `/?${tail}` : '/';
}

/** What the present address asks for: {collection or null, query or null}. */
export function fromAddress() {
  const parameters = new URLSearchParams(location.search);
  const url = pictureAddress(parameters.get('url') ?? '');
  const like = parameters.get('like');
  let query = files.get(history.state?.file) ?? null;
  if (url) {
    query = {kind: 'url', url};
  } else if (like && /^-?\d+$/.test(like)) {
    query = {kind: 'record', fileid: like};
  }
  return {collection: parameters.get('collection'), query};
}

export function remember(collection, query, {replace = false} = {}) {
  let state = null;
  if (query?.kind === 'file') {
    last += 1;
    files.set(last, query);
    files.delete(last - KEPT);
    state = {file: last};
  }
  history[replace ? 'replaceState' : 'pushState'](state, '', toAddress(collection, query));
}

/** An http(s) address out of what a person typed or pasted, or null. A missing "https://" is added. */
export function pictureAddress(typed) {
  const trimmed = typed.trim();
  const full = /^[a-z][a-z0-9+.-]*:/i.test(trimmed) && !/^[^/]*:\d/.test(trimmed) ? trimmed : `https://${trimmed}`;
  if (!trimmed || /\s/.test(trimmed) || !URL.canParse(full)) {
    return null;
  }
  const url = new URL(full);
  const isWeb = url.protocol === 'http:' || url.protocol === 'https:';
  const isHost = /[.:]/.test(url.hostname) || url.hostname === 'localhost';
  return isWeb && isHost ? url.href : null;
}
