// The grid of hits: pictures first, with the distance on them and the identifiers below. It grows page by page.

import {icon, make} from './dom.js';
import {say} from './i18n.js';

const TAGS_SHOWN = 3;
const SAME = 1e-4; // below, it is the same picture

/** What to call a hit: what its own data calls it, if that is something short. */
export function caption({brief}) {
  const path = typeof brief.path === 'string' ? brief.path.split('/').pop() : null;
  const found = [brief.title, brief.name, path].find((value) => typeof value === 'string' && value.trim() !== '');
  return found ? found.slice(0, 200) : '';
}

export const distanceText = (distance) => distance.toFixed(distance < 10 ? 3 : 1);

export function pictureOf(hit, size) {
  if (!hit.thumbnail) {
    return make('span', {class: 'no-picture'}, icon('picture'));
  }
  const image = make('img', {
    src: hit.thumbnail, alt: '', width: size.width, height: size.height, loading: 'lazy', decoding: 'async',
    draggable: 'false',
  });
  image.addEventListener('error', () => image.replaceWith(make('span', {class: 'no-picture'}, icon('picture'))));
  return image;
}

export function tagList(tags, limit = Infinity) {
  if (tags.length === 0) {
    return null;
  }
  const shown = tags.slice(0, limit).map((tag) => make('bdi', {class: 'tag', title: tag}, tag));
  const rest = tags.length - shown.length;
  return make('span', {class: 'tags'}, ...shown, rest > 0 ? make('span', {class: 'tag more-tags'}, `+${rest}`) : null);
}

function identifier(key, value) {
  return make('span', {class: 'identifier'}, say(make('span', {class: 'label'}), key), ' ', make('span', {}, value));
}

function card(hit, open) {
  const badge = make('span', {class: 'distance'}, say(make('span', {class: 'visually-hidden'}), 'hit.distance'), ' ',
    distanceText(hit.distance));
  const same = hit.distance < SAME ? say(make('span', {class: 'same'}), 'hit.same') : null;
  const title = caption(hit);
  return make('li', {class: 'hit'},
    make('button', {class: 'card', type: 'button', onclick: open},
      make('span', {class: 'frame'}, pictureOf(hit, {width: 240, height: 320}), badge, same),
      make('span', {class: 'facts'},
        title ? make('bdi', {class: 'caption'}, title) : null,
        identifier('hit.item', hit.itemid), identifier('hit.file', hit.fileid),
        tagList(hit.tags, TAGS_SHOWN))));
}

/** Arrow keys go from picture to picture; up and down by what lies above and below on the screen. */
function moveFocus(list, event) {
  const cards = [...list.querySelectorAll('.card')];
  const here = cards.indexOf(document.activeElement);
  if (here < 0 || event.altKey || event.ctrlKey || event.metaKey) {
    return;
  }
  const columns = cards.filter((one) => one.offsetTop === cards[0].offsetTop).length;
  const steps = {
    ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -here, End: cards.length - 1 - here,
  };
  const next = cards[here + (steps[event.key] ?? NaN)];
  if (next) {
    event.preventDefault();
    next.focus();
  }
}

export class Results {
  #list;
  #open;
  hits = [];

  /** `open(index)` shows the details of a hit. */
  constructor(list, open) {
    this.#list = list;
    this.#open = open;
    list.addEventListener('keydown', (event) => moveFocus(list, event));
  }

  clear() {
    this.hits = [];
    this.#list.replaceChildren();
  }

  /** Empty frames while the first page is on its way; they show only if it takes a moment. */
  wait(count) {
    this.clear();
    this.#list.append(...Array.from({length: count}, () => make('li', {class: 'hit waiting', 'aria-hidden': 'true'},
      make('span', {class: 'frame'}))));
  }

  append(hits) {
    const first = this.hits.length;
    if (first === 0) {
      this.#list.replaceChildren();
    }
    this.hits.push(...hits);
    this.#list.append(...hits.map((hit, index) => card(hit, () => this.#open(first + index))));
  }

  focus(index) {
    this.#list.querySelectorAll('.card')[index]?.focus();
  }
}
