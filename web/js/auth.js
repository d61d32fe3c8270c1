// The key of a server that asks for one. It is kept for this tab (sessionStorage), or where the person wants it on this
// device (localStorage), and goes into the header of every request; pictures are fetched with it as well, because an
// <img> cannot send a header.

import {byId} from './dom.js';

const STORED = 'lookalike.key';
let memory = null; // where storage is switched off

function read(storage) {
  try {
    return storage().getItem(STORED);
  } catch {
    return null;
  }
}

function write(storage, value) {
  try {
    if (value === null) {
      storage().removeItem(STORED);
    } else {
      storage().setItem(STORED, value);
    }
  } catch {
    // Kept in memory until the page is left.
  }
}

export const key = () => memory ?? read(() => sessionStorage) ?? read(() => localStorage);

export function forgetKey() {
  memory = null;
  write(() => sessionStorage, null);
  write(() => localStorage, null);
}

export const keyHeader = () => (key() ? {Authorization: `Bearer ${key()}`} : {});

let asking = null;

/**
 * Ask for a key; resolves to whether one was given. Several callers share one question. `wrong`: the key there is was
 * not accepted.
 */
export function askForKey({wrong = key() !== null} = {}) {
  asking ??= new Promise((resolve) => {
    const dialog = byId('key-dialog');
    const form = dialog.querySelector('form');
    const input = byId('key-input');
    byId('key-wrong').hidden = !wrong;
    input.value = '';
    dialog.returnValue = '';
    dialog.addEventListener('close', () => {
      const given = dialog.returnValue === 'given' && input.value.trim() !== '';
      if (given) {
        forgetKey();
        memory = input.value.trim();
        write(() => (byId('key-keep').checked ? localStorage : sessionStorage), memory);
      }
      input.value = '';
      asking = null;
      resolve(given);
    }, {once: true});
    form.onsubmit = (event) => {
      event.preventDefault();
      dialog.close('given');
    };
    byId('key-cancel').onclick = () => dialog.close();
    dialog.showModal();
    input.focus();
  });
  return asking;
}
