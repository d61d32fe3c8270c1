// Every way a picture gets in: chosen, taken with the camera, dropped anywhere on the page, pasted, or by the address of
// one on the web. Each ends in ask([{kind: 'file', file} or {kind: 'url', url}, …], add).

import {pictureAddress} from './address.js';
import {byId} from './dom.js';
import {say} from './i18n.js';

const AT_ONCE = 8;

function startChoosing(ask) {
  let add = false;
  const inputs = {file: byId('file'), camera: byId('camera')};
  for (const button of document.querySelectorAll('[data-choose]')) {
    button.addEventListener('click', () => {
      add = 'add' in button.dataset;
      inputs[button.dataset.choose || 'file'].click();
    });
  }
  for (const input of Object.values(inputs)) {
    input.addEventListener('change', () => {
      const files = [...input.files].slice(0, AT_ONCE);
      input.value = ''; // so that the same file can be chosen again
      if (files.length) {
        ask(files.map((file) => ({kind: 'file', file})), add);
      }
      add = false;
    });
  }
}

/** What a drop or the clipboard holds. A picture dragged off another page is mostly file and address: the file wins. */
function queriesOf(data) {
  const files = [...data.files];
  const pictures = files.filter((one) => one.type.startsWith('image/'));
  const chosen = pictures.length ? pictures.slice(0, AT_ONCE) : files.slice(0, 1);
  if (chosen.length) {
    return chosen.map((file) => ({kind: 'file', file}));
  }
  const lines = (data.getData('text/uri-list') || data.getData('text/plain')).split(/\r?\n/);
  const line = lines.find((one) => one && !one.startsWith('#')) ?? '';
  const url = /^https?:/i.test(line) ? pictureAddress(line) : null; // any other text is not meant for us
  return url ? [{kind: 'url', url}] : [];
}

function startDropping(ask, canSearch) {
  const curtain = byId('drop-curtain');
  let depth = 0; // enter and leave come for every element below the pointer
  const concerns = ({dataTransfer}) => canSearch()
    && dataTransfer.types.some((type) => type === 'Files' || type === 'text/uri-list');
  const show = (visible) => {
    depth = visible ? depth : 0;
    curtain.hidden = !visible;
  };
  addEventListener('dragenter', (event) => {
    if (concerns(event)) {
      event.preventDefault();
      depth += 1;
      show(true);
    }
  });
  addEventListener('dragleave', (event) => {
    depth = Math.max(0, depth - 1);
    if (depth === 0 || event.relatedTarget === null) {
      show(false);
    }
  });
  addEventListener('dragover', (event) => {
    event.preventDefault(); // also where nothing is to be had: a stray drop must not replace the page
    if (!event.target.closest?.('[data-drop]')) {
      event.dataTransfer.dropEffect = concerns(event) ? 'copy' : 'none';
    }
  });
  addEventListener('drop', (event) => {
    event.preventDefault();
    show(false);
    const queries = canSearch() ? queriesOf(event.dataTransfer) : [];
    if (queries.length) {
      ask(queries, false);
    }
  });
}

const isTyping = ({target}) => target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement;

function startPasting(ask, canSearch) {
  addEventListener('paste', (event) => {
    const queries = canSearch() ? queriesOf(event.clipboardData) : [];
    if (queries.length && (queries[0].kind === 'file' || !isTyping(event))) {
      event.preventDefault();
      ask(queries, false);
    }
  });
}

function startAddresses(ask) {
  for (const form of document.querySelectorAll('.address')) {
    const input = form.querySelector('input');
    const error = form.querySelector('.field-error');
    const complain = (wrong) => {
      input.setAttribute('aria-invalid', String(wrong));
      error.hidden = !wrong;
    };
    const submit = () => {
      const url = pictureAddress(input.value);
      complain(!url);
      if (url) {
        ask([{kind: 'url', url}], false);
      } else {
        say(error, 'address.wrong');
        input.focus();
      }
    };
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      submit();
    });
    input.addEventListener('input', (event) => {
      complain(false);
      if (event.inputType === 'insertFromPaste' && /^https?:/i.test(input.value) && pictureAddress(input.value)) {
        submit(); // a whole address was pasted: search at once
      }
    });
  }
}

/** `canSearch()` says whether pictures are wanted now: there is a collection, and the page is for searching. */
export function startIntake(ask, canSearch) {
  startChoosing(ask);
  startDropping(ask, canSearch);
  startPasting(ask, canSearch);
  startAddresses(ask);
  addEventListener('keydown', (event) => {
    if (event.key === '/' && !isTyping(event) && !document.querySelector('dialog[open]')) {
      const visible = () => [...document.querySelectorAll('.address input, .expression input')].find((input) => input.offsetParent);
      if (!visible() && byId('filters-open').offsetParent) {
        byId('filters-open').click(); // on a phone the expression is in a sheet
      }
      const field = visible();
      if (field) {
        event.preventDefault();
        field.focus();
        field.select();
      }
    }
  });
}

/** Put the address of a search into the fields, or clear them. */
export function showAddress(query) {
  for (const input of document.querySelectorAll('.address input')) {
    input.value = query?.kind === 'url' ? query.url : '';
    input.removeAttribute('aria-invalid');
  }
  for (const error of document.querySelectorAll('.address .field-error')) {
    error.hidden = true;
  }
}
