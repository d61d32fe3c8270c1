// The chooser of collections at the top, and what is said while there are none.

import {make} from './dom.js';
import {say} from './i18n.js';
import {notice} from './notice.js';

const STORED = 'lookalike.collection';

function stored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

export function keepCollection(name) {
  try {
    localStorage.setItem(STORED, name);
  } catch {
    // Storage is switched off: next time the page begins with the largest collection.
  }
}

/** The collection to begin with: the one asked for, the last one used, the one with most pictures. */
export function firstChoice(collections, asked) {
  const byName = (name) => collections.find((collection) => collection.name === name);
  const largest = collections.reduce((best, one) => (one.count > best.count ? one : best), collections[0]);
  return asked ? byName(asked) : byName(stored()) ?? largest;
}

export function fillChooser(select, collections, chosen) {
  select.replaceChildren(...collections.map(({name, count}) => {
    const option = say(make('option', {value: name}), 'collection.option', {name, count});
    return option;
  }));
  select.selectedIndex = collections.findIndex(({name}) => name === chosen);
  select.closest('.chooser').hidden = collections.length === 0;
}

/** The command that fills a collection on this server, to be run where the program was built. */
function importCommand(name, isNew) {
  const server = location.origin === 'http://127.0.0.1:5000' ? '' : ` --server ${location.origin}`;
  return `build/lookalike import ${name} /path/to/pictures${isNew ? ' --create' : ''}${server}`;
}

export function noCollections(retry, upload) {
  return notice({
    heading: 'h1',
    icon: 'collection', title: 'none.title', text: 'none.text', command: importCommand('products', true),
    actions: [{key: 'none.upload', run: upload}, {key: 'none.again', run: retry}],
  });
}

export function emptyCollection(name, retry, upload) {
  return notice({
    heading: 'h1',
    icon: 'collection', title: 'empty.title', text: 'empty.text', values: {name},
    command: importCommand(name, false),
    actions: [{key: 'none.upload', run: upload}, {key: 'none.again', run: retry}],
  });
}

export function unknownCollection(name, choose) {
  return notice({
    heading: 'h1',
    icon: 'collection', title: 'unknown.title', text: 'unknown.text', values: {name},
    actions: [{key: 'unknown.choose', run: choose}], alert: true,
  });
}
