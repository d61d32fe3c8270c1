// Many files into a collection: three at a time, with progress and a list of what failed and why. Going to another page
// does not stop it; leaving the site asks first.

import {icon, make} from '../dom.js';
import {say} from '../i18n.js';
import {prepare} from '../picture.js';
import {noneYet} from './new_collection.js';
import {button, check, chosenCollection, collectionSelect, field, heading, progress, rememberCollection, select} from './parts.js';
import {putImage} from './routes.js';

const AT_ONCE = 3;
const FAILURES_SHOWN = 200;
const PICTURE = /\.(jpe?g|png|webp|gif|avif|heic|heif)$/i;

/** A number of 53 bits that the path alone decides, so that uploading again replaces and does not double. */
export function fileidOf(path) {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (const byte of new TextEncoder().encode(path)) {
    a = Math.imul(a ^ byte, 2654435761);
    b = Math.imul(b ^ byte, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return String((BigInt(b >>> 0) & 0x1fffffn) << 32n | BigInt(a >>> 0) || 1n);
}

/** shoe-1.jpg and shoe-2.jpg show one item, "shoe": a count of up to three digits at the end is cut off. */
function itemName(path, from) {
  const parts = path.split('/');
  if (from === 'folder') {
    return parts.length > 1 ? parts.at(-2) : null;
  }
  const stem = parts.at(-1).replace(/\.[^.]*$/, '');
  return stem.replace(/(?:[-_]\d{1,3}| ?\(\d{1,3}\))$/, '') || stem;
}

function parametersOf(path, {itemFrom, tags, folderTag}) {
  const name = itemFrom === 'none' ? null : itemName(path, itemFrom);
  const folder = path.includes('/') ? path.split('/').at(-2) : null;
  return {
    itemid: name === null ? null : /^\d{1,18}$/.test(name) ? name : fileidOf(name),
    tags: JSON.stringify([...tags, ...(folderTag && folder ? [folder] : [])]),
    brief: JSON.stringify({path}),
  };
}

/** One upload, which outlives the page. `changed()` is told of every step. */
class Upload {
  waiting = [];
  failures = [];
  done = 0;
  total = 0;
  #running = 0;
  #control = new AbortController();
  changed = () => {};

  get busy() {
    return this.#running > 0 || this.waiting.length > 0;
  }

  add(files, collection, options) {
    if (!this.busy) {
      this.done = 0;
      this.total = 0;
      this.failures = [];
      this.#control = new AbortController();
    }
    this.waiting.push(...files.map(({file, path}) => ({file, path, collection, options})));
    this.total += files.length;
    this.changed();
    while (this.#running < Math.min(AT_ONCE, this.total)) {
      this.#running += 1;
      this.#work();
    }
  }

  retry() {
    const again = this.failures.splice(0);
    this.done -= again.length;
    this.total -= again.length;
    for (const {file, path, collection, options} of again) {
      this.add([{file, path}], collection, options);
    }
  }

  stop() {
    this.total -= this.waiting.length;
    this.waiting = [];
    this.#control.abort();
    this.changed();
  }

  async #work() {
    for (let next = this.waiting.shift(); next; next = this.waiting.shift()) {
      const {file, path, collection, options} = next;
      try {
        await putImage(collection, fileidOf(path), parametersOf(path, options), await prepare(file), this.#control.signal);
      } catch (failure) {
        if (failure.name === 'AbortError') {
          this.total -= 1;
          this.done -= 1;
        } else {
          this.failures.push({...next, failure});
        }
      }
      this.done += 1;
      this.changed();
    }
    this.#running -= 1;
    this.changed();
  }
}

const upload = new Upload();
addEventListener('beforeunload', (event) => upload.busy && event.preventDefault());

/** The files of a drop, folders and what is in them included. */
async function filesOf(transfer) {
  const found = [];
  const walk = async (entry, path) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push({file, path: path + file.name});
    } else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (some.length === 0) {
          return;
        }
        for (const one of some) {
          await walk(one, `${path}${entry.name}/`);
        }
      }
    }
  };
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) {
    return [...transfer.files].map((file) => ({file, path: file.name}));
  }
  for (const entry of entries) {
    await walk(entry, '');
  }
  return found;
}

const withPath = (file) => ({file, path: file.webkitRelativePath || file.name});
const onlyPictures = (files) => (files.length > 1 ? files.filter(({file, path}) => file.type.startsWith('image/') || PICTURE.test(path)) : files);

function failureRow({path, failure}) {
  const why = make('span', {class: 'failure-why', dir: 'auto'});
  if (failure.detail) {
    why.textContent = failure.detail;
  } else {
    say(why, `failure.${failure.kind ?? 'page'}`);
  }
  return make('li', {}, make('bdi', {class: 'failure-name', title: path}, path.slice(-300)), why);
}

function progressPanel() {
  const {bar, set} = progress(0, 'upload.progress');
  const line = make('p', {class: 'page-status', role: 'status'});
  const list = make('ul', {class: 'failures'});
  const title = make('h2', {class: 'section-title'});
  const again = button('upload.retry', () => upload.retry(), {picture: 'again'});
  const stop = button('upload.stop', () => upload.stop());
  const failuresBox = make('section', {hidden: true}, make('div', {class: 'section-head'}, title, again), list);
  const panel = make('section', {class: 'panel upload-progress', hidden: true}, make('div', {class: 'section-head'}, line, stop), bar);
  let shown = -1;
  const show = () => {
    panel.hidden = upload.total === 0 && upload.done === 0;
    set(upload.total ? upload.done / upload.total : 1);
    say(line, upload.busy ? 'upload.running' : 'upload.finished', {done: upload.done - upload.failures.length, count: upload.total});
    stop.hidden = !upload.busy;
    again.hidden = upload.busy;
    failuresBox.hidden = upload.failures.length === 0;
    if (shown !== upload.failures.length) {
      shown = upload.failures.length;
      say(title, 'upload.failures', {count: shown});
      list.replaceChildren(...upload.failures.slice(0, FAILURES_SHOWN).map(failureRow));
    }
  };
  return {element: make('div', {}, panel, failuresBox), show};
}

export async function open(place, context) {
  await context.reload();
  const all = context.collections();
  const chosen = chosenCollection(all);
  if (!chosen) {
    place.append(heading('upload'), noneYet((name) => {
      rememberCollection('upload', name);
      context.again();
    }));
    return null;
  }
  const collection = collectionSelect(all, chosen.name, (name) => rememberCollection('upload', name));
  const itemFrom = select([['none', 'upload.item.none'], ['folder', 'upload.item.folder'], ['name', 'upload.item.name']], 'none');
  const tags = make('input', {type: 'text', autocomplete: 'off'});
  const folderTag = check('upload.foldertag', false);
  const {element, show} = progressPanel();
  const take = (files) => upload.add(onlyPictures(files), collection.value, {
    itemFrom: itemFrom.value, folderTag: folderTag.input.checked, tags: tags.value.split(',').map((one) => one.trim()).filter(Boolean),
  });
  const file = make('input', {type: 'file', id: 'upload-files', multiple: true, accept: 'image/*,.avif,.heic,.heif', hidden: true});
  const folder = make('input', {type: 'file', id: 'upload-folder', webkitdirectory: true, hidden: true});
  for (const input of [file, folder]) {
    input.addEventListener('change', () => {
      take([...input.files].map(withPath));
      input.value = '';
    });
  }
  const zone = make('button', {class: 'drop-zone', type: 'button', 'data-drop': true, onclick: () => file.click()},
    make('span', {class: 'drop-zone-icon'}, icon('upload')),
    say(make('span', {class: 'drop-zone-title'}), 'upload.choose'), say(make('span', {class: 'drop-zone-hint'}), 'upload.choose.hint'));
  zone.addEventListener('dragover', (event) => {
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
    zone.classList.add('over');
  });
  zone.addEventListener('dragleave', () => zone.classList.remove('over'));
  zone.addEventListener('drop', async (event) => {
    event.preventDefault();
    zone.classList.remove('over');
    take(await filesOf(event.dataTransfer));
  });
  place.append(heading('upload'),
    make('div', {class: 'panel form-grid'}, field('collection', collection), field('upload.item', itemFrom), field('upload.tags', tags, 'upload.tags.hint'), folderTag.label),
    make('div', {class: 'upload-zone'}, zone, button('upload.folder', () => folder.click(), {picture: 'collection'}), file, folder), element);
  upload.changed = show;
  show();
  return () => {
    upload.changed = () => {};
    context.reload().catch(() => {});
  };
}
