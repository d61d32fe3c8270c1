// API keys: who has one, what it allows, making one and taking one back.

import {forgetKey, key as ownKey} from '../auth.js';
import {make} from '../dom.js';
import {say} from '../i18n.js';
import {button, check, complaint, confirmed, dialog, dialogActions, failed, field, heading, missing, moment} from './parts.js';
import {createKey, keys, revokeKey} from './routes.js';

const RIGHTS = ['search', 'write', 'admin'];

/** The key is in this one reply and nowhere else. */
function showOnce(key) {
  const code = make('code', {class: 'secret', translate: 'no'}, key);
  const copied = make('span');
  say(copied, 'copy');
  dialog('keys.made', {}, (close, head) => [make('form', {onsubmit: (event) => {
    event.preventDefault();
    close();
  }}, head, say(make('p'), 'keys.made.text'), code, dialogActions(
    make('button', {class: 'secondary', type: 'button', onclick: async () => {
      try {
        await navigator.clipboard.writeText(key);
        say(copied, 'copied');
      } catch {
        getSelection().selectAllChildren(code);
      }
    }}, copied), button('keys.done', null, {look: 'primary', type: 'submit'})))]);
}

function create(collections, reload) {
  const name = make('input', {type: 'text', autocomplete: 'off', maxlength: '200', required: true});
  const rights = RIGHTS.map((right) => ({right, ...check(`keys.right.${right}`, right === 'search')}));
  const chosen = collections.map((one) => {
    const input = make('input', {type: 'checkbox', value: one.name});
    return {input, label: make('label', {class: 'check'}, input, make('bdi', {}, one.name))};
  });
  const wrong = complaint();
  dialog('keys.new', {}, (close, head) => [make('form', {novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    const picked = rights.filter(({input}) => input.checked).map(({right}) => right);
    if (!name.value.trim() || picked.length === 0) {
      wrong.say(name.value.trim() ? 'keys.right.none' : 'keys.name.none');
      return;
    }
    try {
      const only = chosen.filter(({input}) => input.checked).map(({input}) => input.value);
      const made = await createKey({name: name.value.trim(), rights: picked, ...(only.length ? {collections: only} : {})});
      close();
      reload();
      showOnce(made.key);
    } catch (failure) {
      wrong.show(failure);
    }
  }}, head, field('keys.name', name, 'keys.name.hint'),
  make('fieldset', {class: 'group'}, say(make('legend'), 'keys.rights'), ...rights.map(({label}) => label)),
  chosen.length ? make('fieldset', {class: 'group scroll'}, say(make('legend'), 'keys.collections'), ...chosen.map(({label}) => label)) : null,
  wrong.line, dialogActions(button('cancel', close), button('keys.create', null, {look: 'primary', type: 'submit'})))]);
  name.focus();
}

function row(one, reload) {
  const rights = (one.rights ?? []).map((right) => (RIGHTS.includes(right) ? say(make('span', {class: 'tag'}), `keys.right.${right}.short`) : make('bdi', {class: 'tag'}, String(right))));
  const where = Array.isArray(one.collections) ? one.collections.map((name) => make('bdi', {class: 'tag'}, name)) : [say(make('span'), 'keys.all')];
  return make('article', {class: 'panel key'},
    make('header', {}, make('h2', {}, make('bdi', {}, String(one.name))), make('span', {class: 'tags'}, ...rights),
      button('keys.revoke', async () => {
        const done = await confirmed({title: 'keys.revoke.title', text: 'keys.revoke.text', values: {name: String(one.name)}, action: 'keys.revoke'}, () => revokeKey(one.id));
        if (done) {
          reload();
        }
      }, {look: 'secondary danger'})),
    make('dl', {class: 'facts-row'},
      make('div', {}, say(make('dt'), 'keys.collections.short'), make('dd', {class: 'tags'}, ...where)),
      make('div', {}, say(make('dt'), 'keys.created'), make('dd', {}, moment(one.created))),
      make('div', {}, say(make('dt'), 'keys.used'), one.last_used ? make('dd', {}, moment(one.last_used)) : say(make('dd'), 'keys.never'))));
}

export async function open(place, context) {
  const list = make('div', {class: 'cards keys'});
  const reload = async () => {
    try {
      const all = await keys();
      list.replaceChildren(...(all.length ? all.map((one) => row(one, reload)) : [missing('keys.none')]));
    } catch (failure) {
      place.querySelector('.page-actions .primary').hidden = true;
      list.replaceChildren(failure.status === 404 ? missing('keys.missing') : failed(failure));
    }
  };
  const forget = button('keys.forget', () => {
    forgetKey();
    location.assign('/');
  });
  forget.hidden = !ownKey();
  place.append(heading('keys', forget, button('keys.new', () => create(context.collections(), reload), {look: 'primary', picture: 'plus'})), list);
  await reload();
  return null;
}
