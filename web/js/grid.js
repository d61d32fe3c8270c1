// A grid of any number of cards, of which only those near the screen exist: each is placed by its number, the list is
// as high as all of them. So ten thousand results take as little as forty. The card with the focus stays when it is
// scrolled away, so that the keyboard goes on from there.

import {releaseIn} from './thumbs.js';

const AHEAD = 1.2; // screens above and below that exist as well

export class Grid {
  #list;
  #make;
  #cards = new Map(); // index → li
  #count = 0;
  #layout = null;
  #frame = 0;

  /** `make(index)` gives the element of a card. `nearEnd()` is told when the last cards come near. */
  constructor(list, make, nearEnd = () => {}) {
    this.#list = list;
    this.#make = make;
    this.nearEnd = nearEnd;
    const later = () => {
      this.#frame ||= requestAnimationFrame(() => {
        this.#frame = 0;
        this.#show();
      });
    };
    addEventListener('scroll', later, {passive: true});
    addEventListener('resize', later, {passive: true});
    new ResizeObserver(later).observe(list);
    list.addEventListener('keydown', (event) => this.#keydown(event));
  }

  get count() {
    return this.#count;
  }

  /** How many there are now. Cards that exist stay as they are. */
  resize(count) {
    this.#count = count;
    for (const element of this.#cards.values()) {
      element.setAttribute('aria-setsize', String(count));
    }
    this.#layout = null;
    this.#show();
  }

  /** Throw every card away and make them anew. */
  reset(count) {
    for (const index of [...this.#cards.keys()]) {
      this.#remove(index);
    }
    this.#list.replaceChildren();
    this.resize(count);
  }

  refresh(indexes) {
    for (const index of indexes) {
      const old = this.#cards.get(index);
      if (old && !old.contains(document.activeElement)) {
        this.#remove(index);
      }
    }
    this.#show();
  }

  card(index) {
    return this.#cards.get(index) ?? null;
  }

  focus(index) {
    if (index < 0 || index >= this.#count) {
      return;
    }
    const {top, bottom} = this.#place(index);
    const {top: listTop} = this.#list.getBoundingClientRect();
    const head = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) || 0;
    if (listTop + top < head) {
      scrollBy({top: listTop + top - head, behavior: 'instant'});
    } else if (listTop + bottom > innerHeight) {
      scrollBy({top: listTop + bottom - innerHeight + 8, behavior: 'instant'});
    }
    this.#show();
    this.card(index)?.querySelector('.card')?.focus({preventScroll: true});
  }

  #measure() {
    const style = getComputedStyle(this.#list);
    const number = (name) => parseFloat(style.getPropertyValue(name));
    const width = this.#list.clientWidth;
    const gap = number('--gap');
    const columns = Math.max(1, Math.floor((width + gap) / (number('--least') + gap)));
    const cell = (width - gap * (columns - 1)) / columns;
    const row = Math.round(cell * number('--ratio') + number('--facts')) + number('--row-gap');
    return {width, gap, columns, cell, row};
  }

  #place(index) {
    const {columns, row} = this.#layout ?? (this.#layout = this.#measure());
    const top = Math.floor(index / columns) * row;
    return {top, bottom: top + row};
  }

  #remove(index) {
    const element = this.#cards.get(index);
    releaseIn(element);
    element.remove();
    this.#cards.delete(index);
  }

  #position(element, index) {
    const {columns, cell, gap, row} = this.#layout;
    const across = (index % columns) * (cell + gap);
    element.style.insetInlineStart = `${across}px`;
    element.style.top = `${Math.floor(index / columns) * row}px`;
    element.style.width = `${cell}px`;
  }

  #show() {
    if (!this.#list.isConnected || this.#list.clientWidth === 0) {
      return;
    }
    const measured = this.#measure();
    const moved = JSON.stringify(measured) !== JSON.stringify(this.#layout);
    this.#layout = measured;
    const {columns, row} = measured;
    this.#list.style.height = this.#count ? `${Math.ceil(this.#count / columns) * row}px` : '';
    const above = -this.#list.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((above - innerHeight * AHEAD) / row)) * columns;
    const end = Math.min(this.#count, Math.ceil((above + innerHeight * (1 + AHEAD)) / row) * columns);
    for (const [index, element] of this.#cards) {
      const stays = index < this.#count && ((index >= first && index < end) || element.contains(document.activeElement));
      if (!stays) {
        this.#remove(index);
      } else if (moved) {
        this.#position(element, index);
      }
    }
    this.#add(first, end);
    if (end >= this.#count && this.#count > 0) {
      this.nearEnd();
    }
  }

  /** In order of their number, so that Tab and screen readers go through them as the eye does. */
  #add(first, end) {
    for (let index = first; index < end; index += 1) {
      if (this.#cards.has(index)) {
        continue;
      }
      const element = this.#make(index);
      element.setAttribute('aria-setsize', String(this.#count));
      element.setAttribute('aria-posinset', String(index + 1));
      element.dataset.index = index;
      this.#position(element, index);
      this.#cards.set(index, element);
      const next = [...this.#list.children].find((one) => Number(one.dataset.index) > index);
      this.#list.insertBefore(element, next ?? null);
    }
  }

  /** Arrow keys go from picture to picture; up and down by what lies above and below on the screen. */
  #keydown(event) {
    const here = Number(document.activeElement?.closest('li')?.dataset.index ?? NaN);
    if (Number.isNaN(here) || event.altKey || event.ctrlKey || event.metaKey || !document.activeElement.matches('.card')) {
      return;
    }
    const {columns} = this.#layout;
    const forward = getComputedStyle(this.#list).direction === 'rtl' ? -1 : 1;
    const steps = {
      ArrowRight: forward, ArrowLeft: -forward, ArrowDown: columns, ArrowUp: -columns,
      Home: -here, End: this.#count - 1 - here,
      PageDown: columns * 3, PageUp: -columns * 3,
    };
    const step = steps[event.key];
    if (step !== undefined) {
      event.preventDefault();
      this.focus(Math.min(this.#count - 1, Math.max(0, here + step)));
    }
  }
}
