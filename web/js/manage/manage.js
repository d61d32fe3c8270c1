// The administration: a menu at the side and one page at a time. Everything here is loaded when it is first opened; a
// page's own module when that page is. A page is a function open(place, context) that fills `place` and may return a
// function which ends what it started (timers, running uploads go on only where they say so).

import {byId, icon, make} from '../dom.js';
import {addTexts, say} from '../i18n.js';
import {failureNotice} from '../notice.js';
import en from './text.en.js';
import zh from './text.zh.js';

const PAGES = [
  ['overview', 'chart', () => import('./overview.js')],
  ['collections', 'collection', () => import('./collections.js')],
  ['browse', 'grid', () => import('./browse.js')],
  ['upload', 'upload', () => import('./upload.js')],
  ['jobs', 'clock', () => import('./jobs.js')],
  ['lab', 'lab', () => import('./lab.js')],
  ['keys', 'key', () => import('./keys.js')],
  ['api', 'code', () => import('./api_page.js')],
];

let end = () => {};
let opened = 0; // counts, so that a slow page does not come up over a later one
let ready = null;

function loadStyle() {
  return new Promise((resolve) => {
    const link = make('link', {rel: 'stylesheet', href: '/css/manage.css'});
    link.addEventListener('load', resolve);
    link.addEventListener('error', resolve);
    document.head.append(link);
  });
}

function build() {
  addTexts({en, zh});
  const links = PAGES.map(([name, picture]) => make('li', {}, make('a', {href: `/?page=${name}`, 'data-page': name},
    icon(picture), say(make('span'), `manage.${name}`))));
  byId('manage').replaceChildren(
    say(make('nav', {class: 'manage-menu'}, make('ul', {}, ...links)), 'manage', {}, 'aria-label'),
    make('div', {class: 'manage-page', id: 'manage-page'}));
}

export async function open(page, context) {
  end();
  end = () => {};
  opened += 1;
  const mine = opened;
  if (!ready) {
    build();
    ready = loadStyle();
  }
  await ready;
  const [name, , load] = PAGES.find(([one]) => one === page) ?? PAGES[0];
  for (const link of byId('manage').querySelectorAll('[data-page]')) {
    const isHere = link.dataset.page === name;
    link.toggleAttribute('aria-current', isHere);
    if (isHere) {
      link.setAttribute('aria-current', 'page');
      link.scrollIntoView({block: 'nearest', inline: 'center', behavior: 'instant'});
    }
  }
  document.title = `lookalike · ${byId('manage').querySelector('[aria-current]').textContent}`;
  const module = await load();
  if (mine !== opened) {
    return;
  }
  scrollTo({top: 0, behavior: 'instant'});
  const place = byId('manage-page');
  place.replaceChildren();
  place.dataset.shown = name;
  try {
    const ended = await module.open(place, {...context, again: () => open(page, context)});
    if (mine === opened) {
      end = ended ?? (() => {});
    } else {
      ended?.();
    }
  } catch (failure) {
    if (mine === opened) {
      place.replaceChildren(failureNotice(failure, {name: ''}, [{key: 'again', run: () => open(page, context)}]));
    }
  }
}

export function close() {
  opened += 1;
  end();
  end = () => {};
}
