// How the server is, now and in the last two minutes.

import {make} from '../dom.js';
import {say, text} from '../i18n.js';
import {listCollections} from '../api.js';
import {Chart, tile} from './charts.js';
import {parseMetrics, quantile, sum} from './metrics.js';
import {bytes, heading, missing, number, repeatedly} from './parts.js';
import {metricsText, models, statistics} from './routes.js';

const EVERY = 2000; // ms
const STATISTICS_EVERY = 5; // readings

const REQUESTS = 'lookalike_http_requests_total';
const SECONDS = 'lookalike_stage_seconds';
const MEMORY = 'process_resident_memory_bytes';

const isAsked = ({route}) => route !== '/metrics'; // this page's own question is none of anybody's
const isError = (labels) => isAsked(labels) && labels.status?.startsWith('5');
const isWhole = ({stage}) => stage === 'request';
const oneDecimal = (value) => (value >= 100 ? String(Math.round(value)) : value.toFixed(1));

function modelCard(model) {
  const facts = [
    ['overview.dimension', model.dimension], ['overview.input', Array.isArray(model.input) ? model.input.join(' × ') : model.input],
    ['overview.engine', [model.engine, model.engine_version].filter(Boolean).join(' ')],
    ['overview.precision', model.precision], ['overview.device', model.device], ['overview.licence', model.licence],
  ].filter(([, value]) => value !== undefined && value !== null && value !== '');
  return make('article', {class: 'panel'}, make('h3', {}, make('bdi', {}, String(model.name))),
    make('dl', {class: 'facts-list'}, ...facts.flatMap(([key, value]) => [say(make('dt'), key), make('dd', {}, String(value))])));
}

const INDEX_STATES = new Set(['none', 'building', 'ready']);

/** The state of a collection's index in a cell; null where the server says nothing of it. */
function indexCell(index) {
  if (!INDEX_STATES.has(index?.state)) {
    return null;
  }
  return say(make('span'), `overview.index.${index.state}`, {percent: Math.floor(Number(index.built ?? 0) * 100)});
}

function collectionRow(one, hasIndex) {
  return make('tr', {},
    make('th', {scope: 'row'}, make('a', {href: `/?${new URLSearchParams({page: 'browse', collection: one.name})}`}, make('bdi', {}, one.name))),
    make('td', {class: 'figure'}, number(one.count)), make('td', {class: 'figure'}, one.items === undefined ? '' : number(one.items)),
    make('td', {}, make('bdi', {}, String(one.model ?? ''))),
    make('td', {class: 'figure'}, one.bytes ? bytes(one.bytes.disk) : ''), make('td', {class: 'figure'}, one.bytes ? bytes(one.bytes.memory) : ''),
    hasIndex ? make('td', {}, indexCell(one.index) ?? '') : null);
}

function collectionTable(rows) {
  const hasIndex = rows.some(({index}) => indexCell(index) !== null);
  const heads = ['overview.collection', 'overview.pictures', 'overview.items', 'overview.model', 'overview.disk', 'overview.memory', ...(hasIndex ? ['overview.index'] : [])];
  return make('div', {class: 'table-scroll', tabindex: '0', role: 'region', 'aria-label': text('manage.collections')}, make('table', {},
    make('thead', {}, make('tr', {}, ...heads.map((key, at) => say(make('th', {scope: 'col', class: at > 0 && at !== 3 && at < 6 ? 'figure' : ''}), key)))),
    make('tbody', {}, ...rows.map((one) => collectionRow(one, hasIndex)))));
}

async function allStatistics() {
  const list = await listCollections();
  return Promise.all(list.map(async (one) => ({...one, ...await statistics(one.name).catch(() => ({}))})));
}

export async function open(place) {
  const pictures = tile('overview.pictures', '–');
  const disk = tile('overview.disk', '–');
  const rate = new Chart('overview.rate', oneDecimal);
  const latency = new Chart('overview.latency', (value) => `${oneDecimal(value)} ms`);
  const errors = new Chart('overview.errors', oneDecimal);
  const memory = new Chart('overview.memory', bytes);
  const table = make('div');
  const modelList = make('div', {class: 'panels'});
  const note = make('div');
  place.append(heading('overview'),
    make('div', {class: 'tiles'}, pictures.element, rate.element, latency.element, errors.element, memory.element, disk.element),
    note, say(make('h2', {class: 'section-title'}), 'manage.collections'), table,
    say(make('h2', {class: 'section-title'}), 'overview.models'), modelList);
  models().then((list) => modelList.replaceChildren(...list.map(modelCard))).catch(() => {});

  let turn = 0;
  let before = null;
  const readStatistics = async () => {
    const rows = await allStatistics();
    const total = rows.reduce((all, {count}) => all + count, 0);
    pictures.set(number(total), text('overview.in', {count: rows.length}));
    disk.set(bytes(rows.reduce((all, one) => all + Number(one.bytes?.disk ?? 0), 0)));
    table.replaceChildren(rows.length ? collectionTable(rows) : missing('overview.none'));
  };
  const readMetrics = async () => {
    const samples = parseMetrics(await metricsText());
    const now = {samples, time: performance.now()};
    const seconds = before ? (now.time - before.time) / 1000 : 0;
    const perSecond = (matches) => (before
      ? Math.max(0, (sum(samples, REQUESTS, matches) ?? 0) - (sum(before.samples, REQUESTS, matches) ?? 0)) / seconds : null);
    rate.add(perSecond(isAsked));
    errors.add(perSecond(isError));
    const times = before && {before: before.samples, now: samples, name: SECONDS, matches: isWhole};
    const [half, most] = [0.5, 0.95].map((part) => times && quantile(times, part));
    latency.add(half === null ? null : half * 1000, most === null ? '' : text('overview.p95', {value: `${oneDecimal(most * 1000)} ms`}));
    memory.add(sum(samples, MEMORY));
    before = now;
  };
  return repeatedly(async () => {
    try {
      if (turn % STATISTICS_EVERY === 0) {
        await readStatistics();
      }
      turn += 1;
      await readMetrics();
      note.replaceChildren();
    } catch (failure) {
      note.replaceChildren(missing(failure.kind === 'missing' ? 'overview.nometrics' : `failure.${failure.kind ?? 'page'}`));
    }
  }, EVERY);
}
