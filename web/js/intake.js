// Every way a picture gets in: chosen, dropped anywhere on the page, pasted, or by the address of one on the web.
// Each ends in ask({kind: 'file', file}) or ask({kind: 'url', url}).

import {pictureAddress} from './address.js';
import {byId} from './dom.js';
import {say} from './i18n.js';

function startChoosing(ask) {
  const input = byId('file');
  for (const button of document.querySelectorAll('[data-choose]')) {
    button.addEventListener('click', () => input.click());
  }
  input.addEventListener('change', () => {
    const [file] = input.files;
    input.value = ''; // so that the same file can be chosen again
    if (file) {
      ask({kind: 'file', file});
    }
  });
}

/** What a drop or the clipboard holds. A picture dragged off another page is mostly file and address: the file wins. */
function queryOf(data) {
  const files = [...data.files];
  const file = files.find((one) => one.type.startsWith('image/')) ?? files[0];
  if (file) {
    return {kind: 'file', file};
  }
  const lines = (data.getData('text/uri-list') || data.getData('text/plain')).split(/\r?\n/);
  const line = lines.find((one) => one && !one.startsWith('#')) ?? '';
  const url = /^https?:/i.test(line) ? pictureAddress(line) : null; // any other text is not meant for us
  return url ? {kind: 'url', url} : null;
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
    event.dataTransfer.dropEffect = concerns(event) ? 'copy' : 'none';
  });
  addEventListener('drop', (event) => {
    event.preventDefault();
    show(false);
    const query = canSearch() ? queryOf(event.dataTransfer) : null;
    if (query) {
      ask(query);
    }
  });
}

function startPasting(ask, canSearch) {
  addEventListener('paste', (event) => {
    const typing = event.target instanceof HTMLInputElement;
    const query = canSearch() ? queryOf(event.clipboardData) : null;
    if (query && (query.kind === 'file' || !typing)) {
      event.preventDefault();
      ask(query);
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
        ask({kind: 'url', url});
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

/** `canSearch()` says whether there is a collection to search in. */
export function startIntake(ask, canSearch) {
  startChoosing(ask);
  startDropping(ask, canSearch);
  startPasting(ask, canSearch);
  startAddresses(ask);
  addEventListener('keydown', (event) => {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key === '/' && !typing && !document.querySelector('dialog[open]')) {
      const field = [...document.querySelectorAll('.address input')].find((input) => input.offsetParent);
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
