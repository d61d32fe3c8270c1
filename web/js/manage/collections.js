// The collections: what is in them, new ones, and what can be done to each.

import {browse, listCollections} from '../api.js';
import {icon, make} from '../dom.js';
import {say} from '../i18n.js';
import {releaseIn, thumb} from '../thumbs.js';
import {bytes, button, check, complaint, confirmed, dialog, dialogActions, field, heading, missing, number, select} from './parts.js';
import {createCollection, dropCollection, models, reembed, statistics, tune, untune} from './routes.js';

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,254}$/;
const SHOWN = 7;

const link = (key, picture, address) => make('a', {class: 'secondary', href: address}, icon(picture), say(make('span'), key));

function facts(one) {
  const list = [['overview.items', one.items === undefined ? undefined : number(one.items)], ['overview.model', one.model], ['overview.dimension', one.dimension],
    ['collection.metric', one.metric], ['overview.disk', one.bytes && bytes(one.bytes.disk)], ['overview.memory', one.bytes && bytes(one.bytes.memory)]];
  const search = one.search ?? one.tuned;
  if (search !== undefined && search !== null && search !== false) {
    list.push(['collection.tuned', typeof search === 'object' ? JSON.stringify(search) : String(search)]);
  }
  return make('dl', {class: 'facts-row'}, ...list.filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => make('div', {}, say(make('dt'), key), make('dd', {}, make('bdi', {}, String(value))))));
}

/** Start long work and show it where jobs are shown; what the server says against it stays at the card. */
function starter(wrong, work) {
  return async (event) => {
    wrong.clear();
    const pressed = event.currentTarget;
    pressed.disabled = true;
    try {
      await work();
      wrong.line.hidden = false;
      wrong.line.replaceChildren(make('a', {href: '/?page=jobs'}, say(make('span'), 'collection.started')));
    } catch (failure) {
      if (failure.status === 404 || failure.status === 405) {
        wrong.say('collection.cannot');
      } else {
        wrong.show(failure);
      }
    }
    pressed.disabled = false;
  };
}

function askModel(name, list, wrong) {
  const model = select(list.map((one) => [one.name, {text: one.name}]), null);
  dialog('collection.reembed.title', {name}, (close, head) => [make('form', {onsubmit: async (event) => {
    event.preventDefault();
    close();
    await starter(wrong, () => reembed(name, model.value))({currentTarget: event.submitter});
  }}, head, say(make('p'), 'collection.reembed.text'), field('overview.model', model),
  dialogActions(button('cancel', close), button('collection.reembed', null, {look: 'primary', type: 'submit'})))]);
}

function card(one, known, reload) {
  const {name} = one;
  const wrong = complaint();
  const strip = make('div', {class: 'strip', 'aria-hidden': 'true'});
  if (one.count > 0) {
    browse(name, {limit: SHOWN}).then(({images}) => strip.append(...images.map(({thumbnail}) => thumb(thumbnail, {width: 90, height: 90})))).catch(() => {});
  }
  const address = (page) => `/?${new URLSearchParams(page ? {page, collection: name} : {collection: name})}`;
  return make('article', {class: 'panel collection-card', 'data-name': name},
    make('header', {}, make('h2', {}, make('bdi', {}, name)), say(make('p'), 'collection.pictures', {count: one.count})),
    strip, facts(one), wrong.line,
    make('div', {class: 'panel-actions'},
      link('collection.search', 'search', address(null)), link('manage.browse', 'grid', address('browse')), link('manage.upload', 'upload', address('upload')),
      button('collection.tune', starter(wrong, () => tune(name))),
      button('collection.untune', starter(wrong, () => untune(name))),
      button('collection.reembed', () => askModel(name, known, wrong)),
      button('collection.drop', async () => {
        const done = await confirmed({
          title: 'collection.drop.title', text: 'collection.drop.text', values: {name, count: one.count}, action: 'collection.drop', word: name,
        }, () => dropCollection(name));
        if (done) {
          reload();
        }
      }, {look: 'secondary danger'})));
}

function create(known, reload) {
  const name = make('input', {type: 'text', autocomplete: 'off', spellcheck: 'false', required: true, maxlength: '255'});
  const model = select([['', 'collection.default'], ...known.map((one) => [one.name, {text: one.name}])], '');
  const metric = select([['', 'collection.default'], ['L2', {text: 'L2'}], ['IP', {text: 'IP'}], ['COSINE', {text: 'COSINE'}]], '');
  const background = select([['', 'collection.default'], ['none', 'collection.background.none'], ['subject', 'collection.background.subject'],
    ['white', 'collection.background.white'], ['black', 'collection.background.black']], '');
  const thumbnails = check('collection.thumbnails', true);
  const originals = check('collection.originals', false);
  const wrong = complaint();
  const options = () => Object.fromEntries([
    ['model', model.value], ['metric', metric.value], ['background', background.value],
    ['thumbnails', thumbnails.input.checked ? undefined : false], ['originals', originals.input.checked ? true : undefined],
  ].filter(([, value]) => value !== '' && value !== undefined));
  dialog('collection.new', {}, (close, head) => [make('form', {novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    if (!NAME.test(name.value)) {
      wrong.say('collection.name.wrong');
      name.focus();
      return;
    }
    try {
      await createCollection(name.value, options());
      close();
      reload();
    } catch (failure) {
      wrong.show(failure);
    }
  }}, head, field('collection.name', name, 'collection.name.hint'), field('overview.model', model), field('collection.metric', metric),
  field('collection.background', background), thumbnails.label, originals.label, wrong.line,
  dialogActions(button('cancel', close), button('collection.create', null, {look: 'primary', type: 'submit'})))]);
  name.focus();
}

export async function open(place, context) {
  const list = make('div', {class: 'cards'});
  let known = [];
  const reload = async () => {
    await context.reload();
    const all = await listCollections();
    const full = await Promise.all(all.map(async (one) => ({...one, ...await statistics(one.name).catch(() => ({}))})));
    releaseIn(list);
    list.replaceChildren(...(full.length ? full.map((one) => card(one, known, reload)) : [missing('overview.none')]));
  };
  place.append(heading('collections', button('collection.new', () => create(known, reload), {look: 'primary', picture: 'plus'})), list);
  known = await models().catch(() => []);
  await reload();
  return () => releaseIn(list);
}
