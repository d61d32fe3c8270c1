// The collections: what is in them, new ones, and what can be done to each.

import {browse, listCollections} from '../api.js';
import {icon, make} from '../dom.js';
import {say} from '../i18n.js';
import {releaseIn, thumb} from '../thumbs.js';
import {JobRow, follow} from './job_row.js';
import {newCollection, noneYet} from './new_collection.js';
import {bytes, button, check, complaint, confirmed, dialog, dialogActions, failed, field, heading, number, select} from './parts.js';
import {dropCollection, evaluate, jobs, reembed, serverFacts, statistics, tune, untune} from './routes.js';

const SHOWN = 7;

const link = (key, picture, address) => make('a', {class: 'secondary', href: address}, icon(picture), say(make('span'), key));

function facts(one) {
  const isPlain = one.background === undefined || one.background === 'none';
  const list = [['overview.items', typeof one.items === 'number' ? number(one.items) : null], ['overview.model', one.model], ['overview.dimension', one.dimension],
    ['collection.metric', one.metric], ['collection.background', isPlain ? null : say(make('span'), `collection.background.${one.background}`)],
    ['overview.disk', one.bytes && bytes(one.bytes.disk)], ['overview.memory', one.bytes && bytes(one.bytes.memory)]];
  return make('dl', {class: 'facts-row'}, ...list.filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => make('div', {}, say(make('dt'), key), make('dd', {}, value instanceof Element ? value : make('bdi', {}, String(value))))));
}

/** Long work of one card: started here, followed here, also where it was started before the page was opened. */
class Work {
  element = make('div', {class: 'collection-work'});
  #wrong;
  #ended;

  constructor(wrong, ended) {
    this.#wrong = wrong;
    this.#ended = ended;
  }

  follow(id) {
    follow(id, this.element, (job) => this.#ended(job)).catch((failure) => this.#wrong.show(failure));
  }

  /** A listener: `start()` gives {job}, or nothing where it is done at once. */
  starter(start) {
    return async (event) => {
      this.#wrong.clear();
      const pressed = event.currentTarget;
      pressed.disabled = true;
      try {
        const {job} = await start() ?? {};
        if (job === undefined) {
          this.#ended(null);
        } else {
          this.follow(job);
        }
      } catch (failure) {
        this.#wrong.show(failure);
      }
      pressed.disabled = false;
    };
  }
}

/** Which model, and whether thumbnails will do, without which a collection that keeps no originals has nothing to go by. */
function askModel({name, model: present, originals}, list, work) {
  const other = list.find((one) => one.name !== present) ?? list[0];
  const model = select(list.map((one) => [one.name, {text: one.name}]), other?.name);
  const thumbnails = check('collection.reembed.thumbnails', originals !== true);
  dialog('collection.reembed.title', {name}, (close, head) => [make('form', {onsubmit: async (event) => {
    event.preventDefault();
    close();
    await work.starter(() => reembed(name, model.value, thumbnails.input.checked))({currentTarget: event.submitter});
  }}, head, say(make('p'), 'collection.reembed.text'), field('overview.model', model), thumbnails.label,
  dialogActions(button('cancel', close), button('collection.reembed', null, {look: 'primary', type: 'submit'})))]);
}

/** What learning can be done: what it would bring, learning, and going back; none where there is nothing to learn from. */
function learningButtons(one, server, work) {
  const {name} = one;
  const buttons = [];
  if (server.can.tune && one.count > 0) {
    buttons.push(button(one.tuned ? 'collection.tune.again' : 'collection.tune', work.starter(() => tune(name)), {picture: 'learn'}));
  }
  if (server.can.tune && one.tuned) {
    buttons.push(button('collection.untune', work.starter(() => untune(name))));
  }
  if (server.can.eval && one.count > 0) {
    buttons.push(button('collection.eval', work.starter(() => evaluate(name))));
  }
  if (server.can.reembed && one.count > 0) {
    buttons.push(button('collection.reembed', () => askModel(one, server.models, work)));
  }
  return buttons;
}

function card(one, server, reload) {
  const {name} = one;
  const wrong = complaint();
  const strip = make('div', {class: 'strip', 'aria-hidden': 'true'});
  const work = new Work(wrong, (job) => (job === null || (job.state === 'done' && job.kind !== 'eval')) && reload(name, job));
  if (one.count > 0) {
    browse(name, {limit: SHOWN}).then(({images}) => strip.append(...images.map(({thumbnail}) => thumb(thumbnail, {width: 90, height: 90})))).catch(() => {});
  }
  const address = (page) => `/?${new URLSearchParams(page ? {page, collection: name} : {collection: name})}`;
  const element = make('article', {class: 'panel collection-card', 'data-name': name},
    make('header', {}, make('h2', {}, make('bdi', {}, name)), say(make('p'), 'collection.pictures', {count: one.count}),
      one.tuned ? say(make('span', {class: 'state done'}), 'collection.tuned') : null),
    strip, facts(one), work.element, wrong.line,
    make('div', {class: 'panel-actions'},
      link('collection.search', 'search', address(null)), link('manage.browse', 'grid', address('browse')), link('manage.upload', 'upload', address('upload')),
      ...learningButtons(one, server, work),
      button('collection.drop', async () => {
        const done = await confirmed({
          title: 'collection.drop.title', text: 'collection.drop.text', values: {name, count: one.count}, action: 'collection.drop', word: name,
        }, () => dropCollection(name));
        if (done) {
          reload();
        }
      }, {look: 'secondary danger', picture: 'trash'})));
  return {element, work};
}

/** Work that runs already is shown at its card. */
async function showRunning(cards) {
  const running = (await jobs().catch(() => [])).filter(({state}) => state === 'running');
  for (const one of running) {
    cards.get(one.collection)?.work.follow(one.id);
  }
}

export async function open(place, context) {
  const list = make('div', {class: 'cards'});
  const server = await serverFacts();
  /** `job`: what has just ended at the card `name`; it stays on show. */
  const reload = async (name = null, job = null) => {
    try {
      await context.reload();
      const all = await listCollections();
      const full = await Promise.all(all.map(async (one) => ({...one, ...await statistics(one.name).catch(() => ({}))})));
      const cards = new Map(full.map((one) => [one.name, card(one, server, reload)]));
      releaseIn(list);
      list.replaceChildren(...(cards.size ? [...cards.values()].map(({element}) => element) : [noneYet(() => reload())]));
      if (job !== null) {
        cards.get(name)?.work.element.replaceChildren(new JobRow(job, () => {}, 'h3').element);
      }
      showRunning(cards);
    } catch (failure) {
      list.replaceChildren(failed(failure, () => reload()));
    }
  };
  place.append(heading('collections', button('collection.new', () => newCollection(() => reload(), server), {look: 'primary', picture: 'plus'})), list);
  await reload();
  return () => releaseIn(list);
}
