// Long work: what runs, how far it is, what came of it.

import {make} from '../dom.js';
import {JobRow} from './job_row.js';
import {failed, heading, missing, repeatedly} from './parts.js';
import {job as readJob, jobs} from './routes.js';

const EVERY = 1000; // ms

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
          rows.set(id, new JobRow(job, (failure) => (failure ? outcome.replaceChildren(failed(failure)) : read())));
        }
        if (job.state === 'done' && rows.get(id).wantsResult) {
          readJob(id).then((whole) => rows.get(id)?.show(whole), () => {});
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
