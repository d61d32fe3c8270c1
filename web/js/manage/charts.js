// Small live charts: the last two minutes of a number as a line.

import {make} from '../dom.js';
import {say} from '../i18n.js';

const SVG = 'http://www.w3.org/2000/svg';
const KEPT = 60;
const [WIDTH, HEIGHT] = [240, 56];

function shape(name, className) {
  const element = document.createElementNS(SVG, name);
  element.setAttribute('class', className);
  return element;
}

export class Chart {
  #values = [];
  #area = shape('path', 'chart-area');
  #line = shape('path', 'chart-line');
  #value = make('p', {class: 'tile-value'});
  #note = make('p', {class: 'tile-note'});

  /** `format(value)` writes the present value. */
  constructor(key, format) {
    this.format = format;
    const svg = shape('svg', 'chart');
    svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.setAttribute('aria-hidden', 'true');
    svg.append(this.#area, this.#line);
    this.element = make('section', {class: 'tile'}, say(make('h2', {class: 'tile-name'}), key), this.#value, this.#note, svg);
  }

  /** `value` is null where it is not known (yet). */
  add(value, note = '') {
    this.#value.textContent = value === null ? '–' : this.format(value);
    this.#note.textContent = note;
    if (value === null) {
      return;
    }
    this.#values.push(value);
    if (this.#values.length > KEPT) {
      this.#values.shift();
    }
    const most = Math.max(...this.#values, 1e-9);
    const points = this.#values.map((one, index) => {
      const x = WIDTH - (this.#values.length - 1 - index) * (WIDTH / (KEPT - 1));
      return `${x.toFixed(1)} ${(HEIGHT - 3 - (one / most) * (HEIGHT - 8)).toFixed(1)}`;
    });
    const first = points[0].split(' ')[0];
    this.#line.setAttribute('d', `M${points.join('L')}`);
    this.#area.setAttribute('d', `M${first} ${HEIGHT}L${points.join('L')}L${WIDTH} ${HEIGHT}Z`);
  }
}

export function tile(key, value, note = '') {
  const valueLine = make('p', {class: 'tile-value'}, value);
  const noteLine = make('p', {class: 'tile-note'}, note);
  return {
    element: make('section', {class: 'tile'}, say(make('h2', {class: 'tile-name'}), key), valueLine, noteLine),
    set(text, below = '') {
      valueLine.textContent = text;
      noteLine.textContent = below;
    },
  };
}
