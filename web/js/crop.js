// A box on a picture: drawn with the pointer, moved, pulled at its eight handles, removed; by keyboard with the arrows
// (Shift changes the size) and Delete. Coordinates are parts of the picture, 0…1.

import {make} from './dom.js';
import {say} from './i18n.js';

const LEAST = 0.04; // of a side; a smaller one is a click, not a box
const STEP = 0.02;
const HANDLES = ['nw', 'n', 'ne', 'e', 'se', 's', 'sw', 'w'];

const within = (value, low, high) => Math.min(high, Math.max(low, value));

/** [x, y, w, h] pulled at one of the handles by (dx, dy). */
function pulled([x, y, w, h], handle, dx, dy) {
  let [left, top, right, bottom] = [x, y, x + w, y + h];
  if (handle.includes('w')) {
    left = within(left + dx, 0, right - LEAST);
  }
  if (handle.includes('e')) {
    right = within(right + dx, left + LEAST, 1);
  }
  if (handle.includes('n')) {
    top = within(top + dy, 0, bottom - LEAST);
  }
  if (handle.includes('s')) {
    bottom = within(bottom + dy, top + LEAST, 1);
  }
  return [left, top, right - left, bottom - top];
}

const moved = ([x, y, w, h], dx, dy) => [within(x + dx, 0, 1 - w), within(y + dy, 0, 1 - h), w, h];

export class Crop {
  #stage;
  #box;
  #change;
  #region = null;
  #drag = null; // {kind: 'draw' | 'move' | handle, from: [x, y], region}

  /** `stage` lies exactly over the picture. `change(region or null, finished)` hears of each change. */
  constructor(stage, change) {
    this.#stage = stage;
    this.#change = change;
    this.#box = say(make('div', {class: 'crop-box', role: 'group', tabindex: '0', hidden: true},
      ...HANDLES.map((handle) => make('span', {class: `crop-handle ${handle}`, 'data-handle': handle}))), 'crop.box', {}, 'aria-label');
    stage.append(this.#box);
    stage.addEventListener('pointerdown', (event) => this.#down(event));
    stage.addEventListener('pointermove', (event) => this.#move(event));
    stage.addEventListener('pointerup', () => this.#up());
    stage.addEventListener('pointercancel', () => this.#cancel());
    this.#box.addEventListener('keydown', (event) => this.#keydown(event));
  }

  get region() {
    return this.#region;
  }

  set region(region) {
    this.#region = region;
    this.#box.hidden = !region;
    if (region) {
      const [x, y, w, h] = region.map((part) => `${(part * 100).toFixed(3)}%`);
      Object.assign(this.#box.style, {left: x, top: y, width: w, height: h});
    }
  }

  focus() {
    this.#box.focus();
  }

  #point(event) {
    const {left, top, width, height} = this.#stage.getBoundingClientRect();
    return [within((event.clientX - left) / width, 0, 1), within((event.clientY - top) / height, 0, 1)];
  }

  #down(event) {
    if (event.button !== 0) {
      return;
    }
    const handle = event.target.dataset?.handle;
    const inside = event.target === this.#box;
    this.#drag = {kind: handle ?? (inside ? 'move' : 'draw'), from: this.#point(event), region: this.#region, changed: false};
    this.#stage.setPointerCapture(event.pointerId);
    event.preventDefault();
    if (handle || inside) {
      this.#box.focus();
    }
  }

  #move(event) {
    if (!this.#drag) {
      return;
    }
    const {kind, from, region} = this.#drag;
    const [x, y] = this.#point(event);
    const [dx, dy] = [x - from[0], y - from[1]];
    let next = null;
    if (kind === 'move') {
      next = moved(region, dx, dy);
    } else if (kind !== 'draw') {
      next = pulled(region, kind, dx, dy);
    } else if (Math.abs(dx) >= LEAST && Math.abs(dy) >= LEAST) {
      next = [Math.min(x, from[0]), Math.min(y, from[1]), Math.abs(dx), Math.abs(dy)];
    }
    if (next && (dx || dy)) {
      this.#drag.changed = true;
      this.region = next;
      this.#change(next, false);
    }
  }

  #up() {
    if (this.#drag?.changed) {
      this.#change(this.#region, true);
    }
    this.#drag = null;
  }

  #cancel() {
    if (this.#drag) {
      this.region = this.#drag.region;
      this.#change(this.#region, true);
    }
    this.#drag = null;
  }

  #keydown(event) {
    const directions = {ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP]};
    const by = directions[event.key];
    if (by) {
      event.preventDefault();
      this.region = event.shiftKey ? pulled(this.#region, 'se', ...by) : moved(this.#region, ...by);
      this.#change(this.#region, true);
    } else if (event.key === 'Delete' || event.key === 'Backspace') {
      event.preventDefault();
      this.region = null;
      this.#change(null, true);
    }
  }
}
