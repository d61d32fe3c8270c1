// Making a collection: the form, with those options that the server's description says it takes; and what is said, with
// a way on, where there is no collection yet.

import {make} from '../dom.js';
import {button, check, complaint, dialog, dialogActions, field, missing, select} from './parts.js';
import {createCollection, serverFacts} from './routes.js';

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,254}$/;
const BACKGROUNDS = new Set(['none', 'subject', 'white', 'black']);

/** Only what the server's description says it takes. */
function optionFields(server) {
  const choices = (name) => (server.can.options[name]?.enum ?? []).map(String);
  const {options} = server.can;
  const fields = [];
  if (options.model) {
    const control = select([['', 'collection.default'], ...server.models.map((one) => [one.name, {text: one.name}])], '');
    fields.push({name: 'model', element: field('overview.model', control, 'collection.model.hint'), value: () => control.value});
  }
  if (choices('metric').length > 0) {
    const control = select([['', 'collection.default'], ...choices('metric').map((one) => [one, {text: one}])], '');
    fields.push({name: 'metric', element: field('collection.metric', control), value: () => control.value});
  }
  if (choices('background').length > 0) {
    const label = (one) => (BACKGROUNDS.has(one) ? `collection.background.${one}` : {text: one});
    const control = select([['', 'collection.default'], ...choices('background').map((one) => [one, label(one)])], '');
    fields.push({name: 'background', element: field('collection.background', control, 'collection.background.hint'), value: () => control.value});
  }
  for (const [name, key, byDefault] of [['thumbnails', 'collection.thumbnails', true], ['originals', 'collection.originals', false]]) {
    if (options[name]) {
      const {input, label} = check(key, byDefault);
      fields.push({name, element: label, value: () => (input.checked === byDefault ? '' : input.checked)});
    }
  }
  return fields;
}

/** The form of a new collection; `made(name)` is told after it was made. */
export async function newCollection(made, known = null) {
  const server = known ?? await serverFacts();
  const name = make('input', {type: 'text', autocomplete: 'off', spellcheck: 'false', required: true, maxlength: '255'});
  const fields = optionFields(server);
  const wrong = complaint();
  const options = () => Object.fromEntries(fields.map((one) => [one.name, one.value()]).filter(([, value]) => value !== ''));
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
      made(name.value);
    } catch (failure) {
      wrong.show(failure);
    }
  }}, head, field('collection.name', name, 'collection.name.hint'), ...fields.map(({element}) => element), wrong.line,
  dialogActions(button('cancel', close), button('collection.create', null, {look: 'primary', type: 'submit'})))]);
  name.focus();
}

/** There is no collection yet; a button makes one. */
export function noneYet(made) {
  const wrong = complaint();
  return make('div', {class: 'none-yet'}, missing('overview.none'),
    button('collection.new', () => newCollection(made).catch((failure) => wrong.show(failure)), {look: 'primary', picture: 'plus'}), wrong.line);
}
