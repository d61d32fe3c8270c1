// Puts the page together. It is in one of these views (data-view of the body): 'loading', 'start' (nothing asked yet),
// 'results' (a query and its hits), 'message' (there is nothing to search in).
//
// The one way to change what is shown is go(): by a person's doing it also writes the address and the history, by
// Back, Forward and the first load it follows them.

import {fromAddress, remember, toAddress} from './address.js';
import {listCollections} from './api.js';
import {
  emptyCollection, fillChooser, firstChoice, keepCollection, noCollections, unknownCollection,
} from './collections.js';
import {Details} from './details.js';
import {byId} from './dom.js';
import {say, startLanguage} from './i18n.js';
import {showAddress, startIntake} from './intake.js';
import {failureNotice, notice} from './notice.js';
import {showQuery} from './query.js';
import {Results} from './results.js';
import {showSamples} from './samples.js';
import {Search} from './search.js';
import {startTheme} from './theme.js';

const WAITING_FRAMES = 12;

let collections = [];
let collection = null; // the chosen one: {name, count}
let query = null;
let running = null; // the Search on show
let samples = new AbortController();

const results = new Results(byId('hits'), (index) => details.open(index));
const details = new Details(results, (fileid) => ask({kind: 'record', fileid}));

// A page ahead of the person who scrolls.
const scrolled = new IntersectionObserver(([entry]) => {
  if (entry.isIntersecting && running && !running.finished && !byId('more').hidden) {
    nextPage(running);
  }
}, {rootMargin: '800px'});

function view(name) {
  document.body.dataset.view = name;
}

function message(element) {
  byId('message').replaceChildren(element);
  view('message');
}

const canSearch = () => collection !== null && collection.count > 0;

// --- a search and its pages -------------------------------------------------------------------------------------

function showFailure(failure) {
  const first = results.hits.length === 0;
  if (first) {
    results.clear();
  }
  const actions = [{key: 'again', run: () => (first ? startSearch() : nextPage(running))}];
  if (failure.kind === 'notpicture' || failure.kind === 'large') {
    actions.splice(0, 1, {key: 'choose', run: () => byId('file').click()});
  }
  byId('outcome').replaceChildren(failureNotice(failure, {name: collection.name}, actions));
  byId('more').hidden = true;
  if (first) {
    say(byId('summary'), 'summary.none');
    byId('results').classList.add('bare');
  }
}

function showPage(search, page) {
  results.append(page.hits);
  byId('outcome').replaceChildren();
  byId('more').hidden = search.finished;
  byId('end').hidden = !search.finished || results.hits.length === 0;
  if (results.hits.length === 0) {
    byId('outcome').replaceChildren(
      notice({icon: 'search', title: 'nothing.title', text: 'nothing.text', values: {name: collection.name}}));
    say(byId('summary'), 'summary.none');
    byId('results').classList.add('bare');
    return;
  }
  say(byId('summary'), search.finished ? 'summary.all' : 'summary', {
    count: results.hits.length, name: collection.name, time: Math.max(1, Math.round(page.milliseconds)),
  });
  scrolled.unobserve(byId('more-place')); // so that it reports again where the new pictures do not fill the screen
  scrolled.observe(byId('more-place'));
}

/** Scrolling, the button and "Try again" all come here; whoever comes second while a page is under way does nothing. */
async function nextPage(search) {
  if (search.busy) {
    return;
  }
  byId('hits').setAttribute('aria-busy', 'true');
  try {
    const page = await search.next();
    if (!search.aborted) {
      showPage(search, page);
    }
  } catch (failure) {
    if (!search.aborted) {
      showFailure(failure);
    }
  }
  if (!search.aborted) {
    byId('hits').setAttribute('aria-busy', 'false');
  }
}

function startSearch() {
  running?.abort();
  running = new Search(collection.name, query);
  byId('outcome').replaceChildren();
  byId('results').classList.remove('bare');
  byId('more').hidden = true;
  byId('end').hidden = true;
  say(byId('summary'), 'searching', {name: collection.name});
  results.wait(WAITING_FRAMES);
  showQuery(collection.name, query);
  view('results');
  scrollTo({top: 0});
  nextPage(running);
}

// --- moving about -----------------------------------------------------------------------------------------------

function showStart() {
  running?.abort();
  running = null;
  samples.abort();
  samples = new AbortController();
  results.clear();
  view('start');
  showSamples(byId('samples'), collection, (fileid) => ask({kind: 'record', fileid}), samples.signal);
}

/** Show `wanted` in the collection of that name. */
function go(name, wanted) {
  details.close();
  collection = collections.find((one) => one.name === name) ?? null;
  query = wanted;
  showAddress(query);
  fillChooser(byId('collection'), collections, name);
  document.title = name ? `lookalike · ${name}` : 'lookalike';
  say(byId('lead'), 'start.lead', {name: name ?? ''});
  say(byId('drop-hint'), 'drop.hint', {name: name ?? ''});
  byId('home').href = toAddress(name, null);
  if (collections.length === 0) {
    message(noCollections(load));
  } else if (!collection) {
    message(unknownCollection(name, () => choose(firstChoice(collections, null).name)));
  } else if (collection.count === 0) {
    message(emptyCollection(name, load));
  } else if (query) {
    startSearch();
  } else {
    showStart();
  }
}

function ask(wanted) {
  remember(collection.name, wanted);
  go(collection.name, wanted);
}

function choose(name) {
  keepCollection(name);
  // A picture of the other collection means nothing in this one; a file or an address is searched here as well.
  const carried = query?.kind === 'record' ? null : query;
  remember(name, carried);
  go(name, carried);
}

function follow() {
  const asked = fromAddress();
  const name = asked.collection ?? firstChoice(collections, null)?.name ?? null;
  go(name, asked.query);
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
byId('more').addEventListener('click', async (event) => {
  const shown = results.hits.length;
  await nextPage(running);
  if (event.detail === 0) {
    results.focus(shown); // by keyboard: go on with the first of the new ones
  }
});
byId('new-search').addEventListener('click', () => ask(null));
byId('home').addEventListener('click', (event) => {
  if (!event.ctrlKey && !event.metaKey && !event.shiftKey && canSearch()) {
    event.preventDefault();
    ask(null);
  }
});
byId('copy-link').addEventListener('click', async () => {
  const link = new URL(toAddress(collection.name, query), location.href).href;
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
