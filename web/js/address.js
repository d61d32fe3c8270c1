// What the page asks for, as the address in the browser's bar, so that a search can be sent to somebody:
//
//   /?collection=clothing&url=https://example.com/a.jpg      by the address of a picture
//   /?collection=clothing&like=4711&region=0.1,0.2,0.5,0.5   by a part of a picture of the collection
//   …&like=12&sign=-1                                        and less like that one
//   …&filter=…&tags="dress"&brief["colour"]="red"&least=60&group=0
//   /?page=jobs                                              a page of the administration
//
// `region` and `sign` belong to the picture before them. A file from somebody's disk is kept here while the page is
// open, so that Back and Forward work (the oldest are forgotten); toLink() puts a small copy of it behind the #, which
// browsers do not send to the server.

import {EMPTY, picture} from './state.js';

const KEPT = 40;
const OWN = new Set(['collection', 'url', 'like', 'file', 'region', 'sign', 'filter', 'least', 'group', 'page']);
const files = new Map(); // number in history.state → File
const numbers = new WeakMap(); // and back
let last = 0;

function numberOf(file) {
  if (!numbers.has(file)) {
    last += 1;
    numbers.set(file, last);
    files.set(last, file);
    files.delete(last - KEPT);
  }
  return numbers.get(file);
}

const short = (number) => String(Math.round(number * 10000) / 10000);

/** `file(picture)` writes what stands for a file, or ''. */
function parametersOf(state, file) {
  const list = [];
  if (state.collection) {
    list.push(['collection', state.collection]);
  }
  for (const one of state.pictures) {
    list.push({url: () => ['url', one.url], record: () => ['like', one.fileid], file: () => ['file', file(one)]}[one.kind]());
    if (one.region) {
      list.push(['region', one.region.map(short).join(',')]);
    }
    if (one.sign < 0) {
      list.push(['sign', '-1']);
    }
  }
  for (const [field, values] of state.facets) {
    list.push(...values.map((value) => [field, JSON.stringify(value)]));
  }
  if (state.filter.trim()) {
    list.push(['filter', state.filter.trim()]);
  }
  if (state.least > 0) {
    list.push(['least', String(state.least)]);
  }
  if (!state.group) {
    list.push(['group', '0']);
  }
  return list;
}

export function toAddress(state) {
  const parameters = new URLSearchParams(parametersOf(state, ({file}) => numberOf(file)));
  const tail = parameters.toString();
  return tail ? `/?${tail}` : '/';
}

/** The address for somebody else. `copies` has a small copy, as base64url text, of each file. */
export function toLink(state, copies) {
  const used = [];
  const parameters = new URLSearchParams(parametersOf(state, ({file}) => `copy${used.push(copies.get(file)) - 1}`));
  const hash = used.length ? `#${used.join('&')}` : '';
  return new URL(`/?${parameters}${hash}`, location.href).href;
}

function copyFromLink(index) {
  const text = location.hash.slice(1).split('&')[index] ?? '';
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (one) => one.charCodeAt(0));
    return bytes.length ? new File([bytes], '', {type: bytes[0] === 0xff ? 'image/jpeg' : 'image/webp'}) : null;
  } catch {
    return null;
  }
}

function fileOf(value) {
  return value.startsWith('copy') ? copyFromLink(Number(value.slice(4))) : files.get(Number(value)) ?? null;
}

function regionOf(value) {
  const numbersIn = value.split(',').map(Number);
  const [x, y, w, h] = numbersIn;
  const fits = numbersIn.length === 4 && numbersIn.every((one) => one >= 0 && one <= 1) && w > 0 && h > 0;
  return fits && x + w <= 1.0001 && y + h <= 1.0001 ? numbersIn : null;
}

function pictureOf(name, value) {
  if (name === 'url') {
    const url = pictureAddress(value);
    return url ? picture({kind: 'url', url}) : null;
  }
  if (name === 'like') {
    return /^-?\d{1,19}$/.test(value) ? picture({kind: 'record', fileid: value}) : null;
  }
  const file = fileOf(value);
  return file ? picture({kind: 'file', file}) : null;
}

function facetsOf(parameters) {
  const facets = new Map();
  for (const [field, value] of parameters) {
    if (!OWN.has(field) && (field === 'tags' || field.startsWith('brief['))) {
      try {
        facets.set(field, [...facets.get(field) ?? [], JSON.parse(value)]);
      } catch {
        // Not ours: somebody changed the link by hand.
      }
    }
  }
  return [...facets];
}

/** What the present address asks for. */
export function fromAddress() {
  const parameters = new URLSearchParams(location.search);
  const pictures = [];
  let current = null;
  for (const [name, value] of parameters) {
    if (name === 'url' || name === 'like' || name === 'file') {
      current = pictureOf(name, value);
      if (current) {
        pictures.push(current);
      }
    } else if (name === 'region' && current) {
      current.region = regionOf(value);
    } else if (name === 'sign' && current) {
      current.sign = value === '-1' ? -1 : 1;
    }
  }
  return {
    ...EMPTY,
    collection: parameters.get('collection'),
    pictures: pictures.some(({sign}) => sign > 0) ? pictures : [],
    facets: facetsOf(parameters),
    filter: parameters.get('filter') ?? '',
    least: Math.min(100, Math.max(0, Number(parameters.get('least')) || 0)),
    group: parameters.get('group') !== '0',
  };
}

/** The page of the administration that the address names, or null. */
export const pageFromAddress = () => new URLSearchParams(location.search).get('page');

export function remember(state, {replace = false} = {}) {
  history[replace ? 'replaceState' : 'pushState'](null, '', toAddress(state));
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
