// The similarity slider: how the hits are spread over 0 to 100 %, and how many are at least as alike as it says.

import {byId} from './dom.js';
import {say, text} from './i18n.js';

const BINS = 50;
const SVG = 'http://www.w3.org/2000/svg';

/**
 * Below, the best hit is called no good match. 50 is as near as the nearest of unrelated pictures usually is; 30 errs far on the side
 * of showing, because whoever looks for a dress that is not there wants to see the other dresses. Measured on photos of groceries of
 * which half had nothing to be found (docs/tuning.md): of the right hits fewer than 1 of 100 are below 30, of the hits for what is not
 * there about one in ten.
 */
export const POOR = 30;

export class Likeness {
  #place = byId('likeness');
  #range = byId('least');
  #bars = [];

  /** `change(least, finished)` hears of each step. */
  constructor(change) {
    const svg = byId('likeness-bars');
    svg.setAttribute('viewBox', `0 0 ${BINS} 20`);
    svg.setAttribute('preserveAspectRatio', 'none');
    this.#bars = Array.from({length: BINS}, (unused, index) => {
      const bar = document.createElementNS(SVG, 'rect');
      bar.setAttribute('x', String(index + 0.12));
      bar.setAttribute('width', '0.76');
      bar.setAttribute('rx', '0.2');
      return bar;
    });
    svg.append(...this.#bars);
    this.#range.addEventListener('input', () => change(Number(this.#range.value), false));
    this.#range.addEventListener('change', () => change(Number(this.#range.value), true));
  }

  /** `results` has the hits; `more` says that there are others further off. */
  show(results, more) {
    const known = results.hits.filter(({similarity}) => similarity !== null);
    this.#place.hidden = known.length === 0;
    const bins = new Array(BINS).fill(0);
    for (const {similarity} of known) {
      bins[Math.min(BINS - 1, Math.floor((similarity / 100) * BINS))] += 1;
    }
    const most = Math.max(1, ...bins);
    bins.forEach((value, index) => {
      const height = value ? 2 + 18 * Math.sqrt(value / most) : 0;
      this.#bars[index].setAttribute('y', String(20 - height));
      this.#bars[index].setAttribute('height', String(height));
      this.#bars[index].classList.toggle('below', ((index + 1) * 100) / BINS <= results.least);
    });
    this.#range.value = String(results.least);
    this.#place.style.setProperty('--at', String(results.least / 100));
    const shown = results.shown;
    const open = more && shown === results.hits.length;
    say(byId('likeness-count'), open ? 'likeness.count.open' : 'likeness.count', {count: shown});
    say(byId('likeness-value'), results.least > 0 ? 'likeness.least' : 'likeness.all', {percent: results.least});
    this.#range.setAttribute('aria-valuetext', `${text('likeness.least', {percent: results.least})}, ${byId('likeness-count').textContent}`);
  }
}
