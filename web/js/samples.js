// A handful of the collection's own pictures to start from, spread over it rather than the first few, which tend to
// be of one kind.

import {browse} from './api.js';
import {icon, make} from './dom.js';
import {say} from './i18n.js';
import {thumb} from './thumbs.js';

const WANTED = 10;

/**
 * Where fileids count up from 1 these steps hit the whole collection. Where they are hashes of names, as `import` makes
 * them, the steps all give the first record, and the first page is a mixture by itself.
 */
function steps(count) {
  return Array.from({length: WANTED}, (unused, index) => String(Math.floor((index * count) / WANTED)));
}

async function spread(collection, signal) {
  const [first, ...single] = await Promise.all([
    browse(collection.name, {limit: WANTED}, signal),
    ...steps(collection.count).map((after) => browse(collection.name, {after, limit: 1}, signal)),
  ]);
  const byId = new Map();
  for (const record of [...single, first].flatMap(({images}) => images)) {
    if (record.thumbnail && !byId.has(record.fileid)) {
      byId.set(record.fileid, record);
    }
  }
  return [...byId.values()].slice(0, WANTED);
}

function sample(record, choose) {
  const picture = thumb(record.thumbnail, {width: 150, height: 200});
  const button = make('button', {class: 'sample', type: 'button', onclick: () => choose(record.fileid)},
    picture, icon('search'));
  picture.addEventListener('error', () => button.parentElement?.remove());
  return make('li', {}, say(button, 'samples.one', {fileid: record.fileid}, 'aria-label'));
}

/** Fill `section` (a heading and a list); hidden where there is nothing to show. Failing is no error here. */
export async function showSamples(section, collection, choose, signal) {
  section.hidden = true;
  try {
    const records = await spread(collection, signal);
    section.querySelector('ul').replaceChildren(...records.map((record) => sample(record, choose)));
    section.hidden = records.length === 0;
  } catch {
    // The page works without; a server that does not answer shows up in the search.
  }
}
