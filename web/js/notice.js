// A message in place of pictures: nothing there yet, nothing found, something wrong; and what to do about it.

import {askForKey} from './auth.js';
import {icon, make} from './dom.js';
import {say} from './i18n.js';

/** A command to copy. Elsewhere than on localhost the clipboard may be closed to pages; then it is selected. */
function commandLine(command) {
  const words = command.split(/( )/).map((word) => (word === ' ' ? word : make('span', {}, word)));
  const code = make('code', {translate: 'no'}, ...words);
  const label = say(make('span'), 'copy');
  const button = make('button', {class: 'quiet', type: 'button', onclick: async () => {
    try {
      await navigator.clipboard.writeText(command);
      say(label, 'copied');
    } catch {
      getSelection().selectAllChildren(code);
    }
  }}, icon('copy'), label);
  return make('div', {class: 'command'}, code, button);
}

function actionButton({key, run}, index) {
  const button = make('button', {class: index === 0 ? 'primary' : 'secondary', type: 'button', onclick: run});
  return say(button, key);
}

/**
 * The message as an element. `title` and `text` are keys of the language files, `values` go into both, `detail` is
 * the server's own sentence, shown as it came. With `alert` it is read aloud at once. `heading` is 'h1' where the
 * message is all that the page shows.
 */
export function notice({
  icon: picture, title, text, values = {}, detail = '', command = '', actions = [], alert = false, heading = 'h2',
}) {
  return make('section', {class: 'notice', role: alert ? 'alert' : null},
    make('span', {class: 'notice-icon'}, icon(picture)),
    say(make(heading, {class: 'notice-title'}), title, values),
    text ? say(make('p'), text, values) : null,
    detail ? make('p', {class: 'notice-detail', dir: 'auto'}, detail) : null,
    command ? commandLine(command) : null,
    actions.length ? make('p', {class: 'notice-actions'}, ...actions.map(actionButton)) : null);
}

/** What went wrong, as a message. `actions` are the ways out. */
export function failureNotice(failure, values, actions, heading) {
  const kind = failure.kind ?? 'page';
  const ways = kind === 'denied' ? [...actions, {key: 'key.other', run: async () => {
    if (await askForKey({wrong: false})) {
      location.reload();
    }
  }}] : actions;
  const detail = kind === 'page' ? String(failure.message ?? failure) : failure.detail;
  return notice({
    icon: kind === 'offline' ? 'offline' : 'warning', title: `failure.${kind}`, text: `failure.${kind}.text`,
    values, detail, actions: ways, alert: true, heading,
  });
}
