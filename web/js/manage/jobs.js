// Long work: what runs, how far it is, what came of it.

import {make} from '../dom.js';
import {say} from '../i18n.js';
import {button, failed, heading, missing, moment, progress, repeatedly} from './parts.js';
import {cancelJob, jobs} from './routes.js';

const EVERY = 1000; // ms
const STATES = new Set(['running', 'done', 'failed', 'cancelled']);
const KINDS = new Set(['tune', 'reembed', 'backup', 'import', 'compact']);

class Row {
  #state = make('span', {class: 'state'});
  #message = make('p', {class: 'job-message', dir: 'auto'});
  #amount = make('span', {class: 'job-amount'});
  #times = make('p', {class: 'job-times'});
  #progress = progress(null, 'jobs.progress');
  #cancel;

  constructor(job, cancel) {
    this.#cancel = button('jobs.cancel', () => cancel(job.id));
    const kind = KINDS.has(job.kind) ? say(make('h2'), `jobs.kind.${job.kind}`) : make('h2', {}, make('bdi', {}, String(job.kind)));
    this.element = make('article', {class: 'panel job', 'data-job': job.id},
      make('header', {}, kind, job.collection ? make('bdi', {class: 'tag'}, job.collection) : null, this.#state, this.#cancel),
      this.#progress.bar, make('p', {class: 'job-line'}, this.#amount), this.#message, this.#times);
    this.show(job);
  }

  show(job) {
    const isRunning = job.state === 'running';
    const total = Number(job.total) || 0;
    this.#state.className = `state ${STATES.has(job.state) ? job.state : ''}`;
    say(this.#state, STATES.has(job.state) ? `jobs.state.${job.state}` : 'jobs.state.running');
    this.#progress.bar.hidden = !isRunning;
    this.#progress.set(total ? Number(job.done) / total : null);
    if (total) {
      say(this.#amount, 'jobs.amount', {done: Number(job.done), total});
    }
    this.#message.textContent = String(job.message ?? '');
    this.#times.textContent = [moment(job.started), moment(job.finished)].filter(Boolean).join(' – ');
    this.#cancel.hidden = !isRunning;
  }
}

export async function open(place) {
  const list = make('div', {class: 'cards jobs'});
  const outcome = make('div');
  const rows = new Map();
  place.append(heading('jobs'), outcome, list);
  let stop = () => {};
  const read = async () => {
    try {
      const all = await jobs();
      outcome.replaceChildren(...(all.length ? [] : [missing('jobs.none')]));
      const seen = new Set(all.map(({id}) => String(id)));
      for (const [id, row] of rows) {
        if (!seen.has(id)) {
          row.element.remove();
          rows.delete(id);
        }
      }
      const sorted = [...all].sort((a, b) => (b.state === 'running') - (a.state === 'running') || String(b.started).localeCompare(String(a.started)));
      sorted.forEach((job, index) => {
        const id = String(job.id);
        if (rows.has(id)) {
          rows.get(id).show(job);
        } else {
          rows.set(id, new Row(job, async (which) => {
            await cancelJob(which).catch((failure) => outcome.replaceChildren(failed(failure)));
            read();
          }));
        }
        if (list.children[index] !== rows.get(id).element) {
          list.insertBefore(rows.get(id).element, list.children[index] ?? null);
        }
      });
    } catch (failure) {
      if (failure.kind === 'missing') {
        outcome.replaceChildren(missing('jobs.missing'));
        stop();
      } else {
        outcome.replaceChildren(failed(failure));
      }
    }
  };
  stop = repeatedly(read, EVERY);
  return () => stop();
}
