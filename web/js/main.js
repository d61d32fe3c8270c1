// Puts the page together. It is in one of these views (data-view of the body): 'loading', 'start' (nothing asked yet),
// 'results' (a search and its hits), 'message' (there is nothing to search in), 'manage' (the administration, whose
// scripts are loaded when it is opened).
//
// The one way to change what is searched for is go(): it writes the address and shows the state of state.js; Back,
// Forward and the first load follow the address.

import {fromAddress, pageFromAddress, remember, toAddress, toLink} from './address.js';
import {listCollections} from './api.js';
import {
  emptyCollection, fillChooser, firstChoice, keepCollection, noCollections, unknownCollection,
} from './collections.js';
import {Details} from './details.js';
import {byId} from './dom.js';
import {Filters, filterChips} from './filters.js';
import {say, startLanguage} from './i18n.js';
import {showAddress, startIntake} from './intake.js';
import {Likeness, POOR} from './likeness.js';
import {failureNotice, notice} from './notice.js';
import {smallCopy} from './picture.js';
import {Query} from './query.js';
import {Results} from './results.js';
import {showSamples} from './samples.js';
import {Search} from './search.js';
import {EMPTY, changed, isAsked, only, toggled, wholeFilter, withPicture, without} from './state.js';
import {startTheme} from './theme.js';

const WAITING_FRAMES = 12;
const CROP_PAUSE = 140; // ms that a box is held still while it is drawn, before it is searched with

let collections = [];
let collection = null; // the chosen one: {name, count}
let state = EMPTY;
let running = null; // the Search on show
let samples = new AbortController();
let poorAccepted = false; // somebody wanted to see the hits of a search without a good match
let manage = null; // the administration, once loaded

const results = new Results(byId('hits'), {
  open: (index) => details.open(index),
  more: (fileid) => go(withPicture(state, {kind: 'record', fileid, sign: 1})),
  less: (fileid) => go(withPicture(state, {kind: 'record', fileid, sign: -1})),
  nearEnd: () => running && !running.finished && !running.failed && results.least === 0 && nextPage(running),
});
const details = new Details(results, {
  only: (fileid) => go(only(state, {kind: 'record', fileid})),
  more: (fileid) => go(withPicture(state, {kind: 'record', fileid, sign: 1})),
  less: (fileid) => go(withPicture(state, {kind: 'record', fileid, sign: -1})),
});
const filters = new Filters({
  toggle: (field, value) => refine(toggled(state, field, value)),
  filter: (filter) => filter !== state.filter && refine({...state, filter}),
  clear: () => refine({...state, facets: [], filter: ''}),
});
const likeness = new Likeness((least, finished) => {
  results.setLeast(least);
  state = {...state, least};
  showOutcome();
  if (finished) {
    remember(state, {replace: true});
    fillAhead();
  }
});
let cropTimer = 0;
const query = new Query({
  select: (active) => query.show(state = {...state, active}),
  sign: (index) => {
    const next = changed(state, index, {sign: -state.pictures[index].sign});
    if (isAsked(next)) {
      go(next);
    }
  },
  remove: (index) => go(without(state, index)),
  region: (index, region, finished) => {
    clearTimeout(cropTimer);
    cropTimer = setTimeout(() => {
      state = changed(state, index, {region});
      remember(state, {replace: true});
      startSearch({quiet: true});
    }, finished ? 0 : CROP_PAUSE);
  },
});

function view(name) {
  document.body.dataset.view = name;
}

function message(element) {
  byId('message').replaceChildren(element);
  view('message');
}

const canSearch = () => collection !== null && collection.count > 0 && document.body.dataset.view !== 'manage';

// --- a search and its pages -------------------------------------------------------------------------------------

function showFailure(search, failure) {
  search.failed = true;
  if (failure.field === 'filter') {
    filters.fail(failure);
  }
  const first = search.loaded === 0;
  if (first) {
    results.clear();
  }
  const actions = [{key: 'again', run: () => (first ? startSearch() : nextPage(search))}];
  if (['notpicture', 'large', 'picture'].includes(failure.kind)) {
    actions.splice(0, 1, {key: 'choose', run: () => byId('file').click()});
  }
  byId('outcome').replaceChildren(failureNotice(failure, {name: collection.name}, actions));
  if (first) {
    say(byId('summary'), 'summary.none');
    byId('results').classList.add('bare');
  }
}

/** Good hits, no good ones, or none at all. */
function showOutcome() {
  const best = results.hits[0]?.similarity ?? null;
  const isWhole = state.pictures.every(({sign}) => sign > 0); // what is wanted less of lowers every similarity
  const isPoor = best !== null && best < POOR && isWhole && !poorAccepted && state.least === 0;
  let said = null;
  if (results.hits.length === 0) {
    said = notice(wholeFilter(state)
      ? {icon: 'filter', title: 'nothing.filtered', text: 'nothing.filtered.text', values: {name: collection.name},
        actions: [{key: 'filter.clear', run: () => refine({...state, facets: [], filter: ''})}]}
      : {icon: 'search', title: 'nothing.title', text: 'nothing.text', values: {name: collection.name}});
  } else if (isPoor) {
    said = notice({icon: 'search', title: 'poor.title', text: 'poor.text', values: {name: collection.name, percent: Math.round(best)},
      actions: [{key: 'poor.show', run: () => {
        poorAccepted = true;
        showOutcome();
      }}]});
  } else if (results.shown === 0) {
    said = notice({icon: 'search', title: 'least.title', text: 'least.text', values: {percent: state.least, best: Math.floor(best)},
      actions: [{key: 'least.lower', run: () => refine({...state, least: 0})}]});
  }
  byId('outcome').replaceChildren(...(said ? [said] : []));
  byId('results').classList.toggle('bare', said !== null && results.hits.length === 0);
  byId('hits').hidden = isPoor || results.hits.length === 0;
  byId('end').hidden = said !== null || !running.finished || results.shown < results.hits.length;
  likeness.show(results, !running.finished);
}

function showPage(search, page, isFirst) {
  if (isFirst) {
    results.least = state.least;
    results.replace(page.hits);
    byId('hits').dataset.search = String(Number(byId('hits').dataset.search ?? 0) + 1); // which search is on show
    say(byId('summary'), 'summary', {name: collection.name, time: Math.max(1, Math.round(page.milliseconds))});
  } else {
    results.append(page.hits);
  }
  showOutcome();
}

/** Scrolling and "Try again" come here; whoever comes second while a page is under way does nothing. */
async function nextPage(search) {
  if (search.busy) {
    return;
  }
  search.failed = false;
  const isFirst = search.loaded === 0;
  byId('hits').setAttribute('aria-busy', 'true');
  try {
    const page = await search.next();
    if (!search.aborted) {
      showPage(search, page, isFirst);
    }
  } catch (failure) {
    if (!search.aborted) {
      showFailure(search, failure);
    }
  }
  if (!search.aborted) {
    byId('hits').setAttribute('aria-busy', 'false');
    if (isFirst) {
      fillAhead();
    }
  }
}

/** The counts of the slider want more than the first page. */
function fillAhead() {
  const search = running;
  const wanted = results.shown === results.hits.length && search.loaded < 500;
  if (!search.finished && !search.failed && wanted) {
    setTimeout(() => search === running && nextPage(search), 150);
  }
}

/** `quiet`: what is on show stays until the new hits are there. */
function startSearch({quiet = false} = {}) {
  running?.abort();
  running = new Search(state);
  poorAccepted = false;
  byId('end').hidden = true;
  results.begin({byFile: !state.group, collection: state.collection});
  details.collection = state.collection;
  byId('group').checked = state.group;
  if (!quiet || results.hits.length === 0) {
    byId('outcome').replaceChildren();
    byId('results').classList.remove('bare');
    byId('hits').hidden = false;
    say(byId('summary'), 'searching', {name: collection.name});
    results.wait(WAITING_FRAMES);
  }
  nextPage(running);
}

function showChips() {
  const acts = {toggle: (field, value) => refine(toggled(state, field, value)), filter: (filter) => refine({...state, filter})};
  const chips = filterChips(state, acts);
  byId('filter-chips').replaceChildren(...chips);
  byId('filter-chips').hidden = chips.length === 0;
}

function showResults(quiet) {
  query.show(state);
  filters.show(state);
  showChips();
  view('results');
  if (!quiet) {
    scrollTo({top: 0, behavior: 'instant'});
  }
  byId('copy-link-text').parentElement.hidden = false;
  startSearch({quiet});
}

// --- moving about -----------------------------------------------------------------------------------------------

function showStart() {
  running?.abort();
  running = null;
  samples.abort();
  samples = new AbortController();
  results.clear();
  view('start');
  showSamples(byId('samples'), collection, (fileid) => go(only(state, {kind: 'record', fileid})), samples.signal);
}

/** Show `wanted` as it is, without touching the address. */
function show(wanted, {quiet = false} = {}) {
  details.close();
  if (filters.isOpen && !quiet) {
    filters.open(false, false);
  }
  state = wanted;
  const {collection: name} = state;
  collection = collections.find((one) => one.name === name) ?? null;
  showAddress(state.pictures.length === 1 ? state.pictures[0] : null);
  fillChooser(byId('collection'), collections, name);
  document.title = name ? `lookalike · ${name}` : 'lookalike';
  say(byId('lead'), 'start.lead', {name: name ?? ''});
  say(byId('drop-hint'), 'drop.hint', {name: name ?? ''});
  byId('home').href = toAddress({...EMPTY, collection: name});
  if (collections.length === 0) {
    message(noCollections(load, () => openUpload(null)));
  } else if (!collection) {
    message(unknownCollection(name, () => choose(firstChoice(collections, null).name)));
  } else if (collection.count === 0) {
    message(emptyCollection(name, load, () => openUpload(name)));
  } else if (isAsked(state)) {
    showResults(quiet);
  } else {
    showStart();
  }
}

function go(wanted, options) {
  remember(wanted);
  show(wanted, options);
}

/** The same search, narrowed or widened: the place on the page is kept, Back leaves the search as a whole. */
function refine(wanted) {
  remember(wanted, {replace: true});
  show(wanted, {quiet: true});
}

function ask(pictures, add) {
  const wanted = add ? state : only(state, null);
  go(pictures.reduce((sum, one) => withPicture(sum, one), wanted));
}

function choose(name) {
  keepCollection(name);
  // A picture or filter of the other collection means nothing in this one; a file or an address is searched here as well.
  const pictures = state.pictures.filter(({kind}) => kind !== 'record');
  go({...EMPTY, collection: name, pictures: isAsked({pictures}) ? pictures : []});
}

function openUpload(name) {
  history.pushState(null, '', `/?${new URLSearchParams(name === null ? {page: 'upload'} : {page: 'upload', collection: name})}`);
  follow();
}

async function openManage(page) {
  view('manage');
  try {
    manage ??= await import('./manage/manage.js');
    await manage.open(page, {collections: () => collections, reload: async () => {
      collections = await listCollections();
    }});
  } catch (failure) {
    message(failureNotice(failure, {name: ''}, [{key: 'again', run: follow}], 'h1'));
  }
}

function follow() {
  const page = pageFromAddress();
  if (page !== null) {
    details.close();
    openManage(page);
    return;
  }
  manage?.close();
  const asked = fromAddress();
  show({...asked, collection: asked.collection ?? firstChoice(collections, null)?.name ?? null});
}

async function load() {
  try {
    collections = await listCollections();
  } catch (failure) {
    message(failureNotice(failure, {name: ''}, [{key: 'again', run: load}], 'h1'));
    return;
  }
  follow();
}

// --- start ------------------------------------------------------------------------------------------------------

startLanguage(byId('language'));
startTheme(byId('theme'));
startIntake(ask, canSearch);

byId('collection').addEventListener('change', (event) => choose(event.target.value));
byId('group').addEventListener('change', (event) => refine({...state, group: event.target.checked}));
byId('new-search').addEventListener('click', () => go(only({...state, facets: [], filter: ''}, null)));
byId('stage-open').addEventListener('click', (event) => {
  const open = byId('query').classList.toggle('open');
  event.currentTarget.setAttribute('aria-expanded', String(open));
});

byId('query-stage').addEventListener('click', () => {
  if (byId('stage-open').offsetParent && !byId('query').classList.contains('open')) {
    byId('stage-open').click(); // on a phone the small picture opens
  }
});

/** Links of the page itself change the view without loading it again. */
addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href^="/"]');
  if (!link || link.target || link.hasAttribute('download') || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) {
    return;
  }
  event.preventDefault();
  history.pushState(null, '', link.getAttribute('href'));
  if (document.body.dataset.view === 'manage' && pageFromAddress() === null) {
    load(); // the administration may have changed what there is
  } else {
    follow();
  }
});

byId('copy-link').addEventListener('click', async () => {
  const files = state.pictures.filter(({kind}) => kind === 'file').map(({file}) => file);
  const copies = new Map(await Promise.all(files.map(async (file) => [file, await smallCopy(file)])));
  const link = toLink(state, copies);
  try {
    await navigator.clipboard.writeText(link);
    say(byId('copy-link-text'), 'copied');
    setTimeout(() => say(byId('copy-link-text'), 'copy.link'), 2000);
  } catch {
    prompt(byId('copy-link-text').textContent, link); // no clipboard here: something to copy by hand
  }
});
addEventListener('popstate', follow);
// While there is nothing to search in, coming back from the terminal looks again.
addEventListener('focus', () => {
  if (document.body.dataset.view === 'message' && !canSearch()) {
    load();
  }
});
load();
