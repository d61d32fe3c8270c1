// One piece of long work as a panel: what it is, how far it is, what came of it; and following one until it has ended.

import {make} from '../dom.js';
import {say} from '../i18n.js';
import {button, moment, progress} from './parts.js';
import {cancelJob, job as readJob} from './routes.js';

const EVERY = 700; // ms
const STATES = new Set(['running', 'done', 'failed', 'cancelled']);
const KINDS = new Set(['tune', 'eval', 'reembed', 'backup', 'restore', 'import', 'export', 'migrate', 'compact']);

/** The result in words where we have some, else its members as they are. */
function outcome(job) {
  const result = job.result !== null && typeof job.result === 'object' ? job.result : {};
  if (job.kind === 'tune' && Number.isFinite(result.items)) {
    return say(make('p', {class: 'job-result'}), 'jobs.result.tune', {count: result.items, pictures: Number(result.rows)});
  }
  if (job.kind === 'reembed' && Number.isFinite(result.records)) {
    return say(make('p', {class: 'job-result'}), 'jobs.result.reembed', {count: result.records});
  }
  if (job.kind === 'eval' && result.plain && result.tuned) {
    const percent = (figures) => Math.round(Number(figures.r1) * 100);
    return say(make('p', {class: 'job-result'}), 'jobs.result.eval', {before: percent(result.plain), after: percent(result.tuned)});
  }
  const members = Object.entries(result).filter(([, value]) => typeof value !== 'object');
  return members.length === 0 ? null : make('dl', {class: 'facts-row job-result'}, ...members.map(([name, value]) =>
    make('div', {}, make('dt', {}, name), make('dd', {}, make('bdi', {}, String(value))))));
}

export class JobRow {
  #state = make('span', {class: 'state'});
  #message = make('p', {class: 'job-message', dir: 'auto'});
  #amount = make('span', {class: 'job-amount'});
  #times = make('p', {class: 'job-times'});
  #result = make('div');
  #progress = progress(null, 'jobs.progress');
  #cancel;
  #asked = false;

  /** `cancelled(failure)` is told after somebody cancelled it, with what went wrong or null. `heading`: 'h2', 'h3'. */
  constructor(job, cancelled, heading = 'h2') {
    this.#cancel = button('jobs.cancel', async () => {
      this.#cancel.disabled = true;
      try {
        await cancelJob(job.id);
        cancelled(null);
      } catch (failure) {
        this.#cancel.disabled = false;
        cancelled(failure);
      }
    });
    const kind = KINDS.has(job.kind) ? say(make(heading), `jobs.kind.${job.kind}`) : make(heading, {}, make('bdi', {}, String(job.kind)));
    this.element = make('article', {class: 'panel job', 'data-job': job.id},
      make('header', {}, kind, job.collection ? make('bdi', {class: 'tag'}, job.collection) : null, this.#state, this.#cancel),
      this.#progress.bar, make('p', {class: 'job-line'}, this.#amount), this.#message, this.#result, this.#times);
    this.show(job);
  }

  /** Whether it is done and its result, which lists leave out, is still to be asked for; true once only. */
  get wantsResult() {
    const wants = this.element.dataset.state === 'done' && !this.#asked;
    this.#asked = true;
    return wants;
  }

  show(job) {
    const isRunning = job.state === 'running';
    const total = Number(job.total) || 0;
    this.element.dataset.state = job.state;
    this.#state.className = `state ${STATES.has(job.state) ? job.state : ''}`;
    say(this.#state, STATES.has(job.state) ? `jobs.state.${job.state}` : 'jobs.state.running');
    this.#progress.bar.hidden = !isRunning;
    this.#progress.set(total ? Number(job.done) / total : null);
    this.#amount.parentElement.hidden = !(isRunning && total);
    say(this.#amount, 'jobs.amount', {done: Number(job.done), total});
    this.#message.textContent = String(job.message ?? '');
    this.#message.hidden = !job.message || job.message === job.state; // "cancelled" is said above
    if (job.state === 'done' && job.result) { // lists leave it out
      this.#result.replaceChildren(...[outcome(job)].filter(Boolean));
    }
    this.#times.textContent = [moment(job.started), moment(job.finished)].filter(Boolean).join(' – ');
    this.#cancel.hidden = !isRunning;
  }
}

/** Show the job in `place` until it has ended or `place` is gone; then `finished(job)`. */
export async function follow(id, place, finished) {
  let row = null;
  for (;;) {
    const job = await readJob(id);
    if (!place.isConnected) {
      return;
    }
    if (row) {
      row.show(job);
    } else {
      row = new JobRow(job, () => {}, 'h3');
      place.replaceChildren(row.element);
    }
    if (job.state !== 'running') {
      finished(job);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}
