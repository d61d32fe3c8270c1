// The picture that is searched for; it stays in sight as long as its hits do.

import {thumbnailAddress} from './api.js';
import {byId, icon, make} from './dom.js';
import {say} from './i18n.js';

let shownAddress = null; // of the blob on show; must be given back

function forget() {
  if (shownAddress) {
    URL.revokeObjectURL(shownAddress);
    shownAddress = null;
  }
}

function picture(address, fallback) {
  const image = make('img', {src: address, alt: ''});
  image.addEventListener('error', () => image.replaceWith(icon(fallback)));
  return say(image, 'query.picture', {}, 'alt');
}

/** A picture elsewhere is not loaded by the page (only the server fetches it), so its address stands for it. */
function addressCard(url) {
  const {hostname, pathname} = new URL(url);
  return make('span', {class: 'query-address', title: url}, icon('link'),
    make('bdi', {class: 'query-host'}, hostname),
    make('bdi', {class: 'query-path'}, decodeURIComponentSafely(pathname.split('/').pop() || pathname)));
}

function decodeURIComponentSafely(value) {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function nameOf(query) {
  const name = make('span');
  if (query.kind === 'file') {
    name.append(make('bdi', {}, query.file.name || ''));
    return query.file.name ? name : say(name, 'query.pasted');
  }
  if (query.kind === 'url') {
    const link = {href: query.url, rel: 'noreferrer noopener', target: '_blank'};
    name.append(make('a', link, make('bdi', {}, query.url)));
    return name;
  }
  return say(name, 'query.record', {fileid: query.fileid});
}

export function showQuery(collection, query) {
  forget();
  const frame = byId('query-picture');
  if (query.kind === 'file') {
    shownAddress = URL.createObjectURL(query.file);
    frame.replaceChildren(picture(shownAddress, 'picture'));
  } else if (query.kind === 'record') {
    frame.replaceChildren(picture(thumbnailAddress(collection, query.fileid), 'picture'));
  } else {
    frame.replaceChildren(addressCard(query.url));
  }
  byId('query-name').replaceChildren(nameOf(query));
  byId('copy-link').hidden = query.kind === 'file';
}
