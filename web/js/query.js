// The pictures that are searched for; they stay in sight as long as their hits do. One of them is large, with the crop
// box; where there are several, each is a chip with its sign.

import {thumbnailAddress} from './api.js';
import {Crop} from './crop.js';
import {byId, icon, make} from './dom.js';
import {say} from './i18n.js';
import {releaseIn, thumb} from './thumbs.js';

const MANY = 8; // pictures in one search

const addresses = new Map(); // file → address of the blob; given back when the file is no longer shown

function addressOf(file) {
  if (!addresses.has(file)) {
    addresses.set(file, URL.createObjectURL(file));
  }
  return addresses.get(file);
}

function forgetOthers(pictures) {
  for (const [file, address] of addresses) {
    if (!pictures.some((one) => one.file === file)) {
      URL.revokeObjectURL(address);
      addresses.delete(file);
    }
  }
}

function decoded(value) {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** A picture elsewhere is not loaded by the page (only the server fetches it), so its address stands for it. */
function addressCard(url) {
  const {hostname, pathname} = new URL(url);
  return make('span', {class: 'query-address', title: url}, icon('link'),
    make('bdi', {class: 'query-host'}, hostname),
    make('bdi', {class: 'query-path'}, decoded(pathname.split('/').pop() || pathname)));
}

function imageOf(collection, one) {
  if (one.kind === 'url') {
    return addressCard(one.url);
  }
  return thumb(one.kind === 'file' ? addressOf(one.file) : thumbnailAddress(collection, one.fileid), {width: 300, height: 400});
}

function nameOf(one) {
  const name = make('span');
  if (one.kind === 'file') {
    name.append(make('bdi', {}, one.file.name || ''));
    return one.file.name ? name : say(name, 'query.pasted');
  }
  if (one.kind === 'url') {
    name.append(make('a', {href: one.url, rel: 'noreferrer noopener', target: '_blank'}, make('bdi', {}, one.url)));
    return name;
  }
  return say(name, 'query.record', {fileid: one.fileid});
}

function labelled(button, key, values) {
  return say(say(button, key, values, 'aria-label'), key, values, 'title');
}

export class Query {
  #acts;
  #crop;
  #stage = byId('query-stage');
  #shown = null; // what the stage shows: the picture's own identity

  /** `acts`: select(index), sign(index), remove(index), region(index, region, finished). */
  constructor(acts) {
    this.#acts = acts;
    this.#crop = new Crop(byId('crop'), (region, finished) => {
      this.#buttons(region);
      acts.region(this.#index, region, finished);
    });
    byId('crop-start').addEventListener('click', () => {
      this.#crop.region = [0.15, 0.15, 0.7, 0.7];
      this.#buttons(this.#crop.region);
      this.#crop.focus();
      acts.region(this.#index, this.#crop.region, true);
    });
    byId('crop-remove').addEventListener('click', () => {
      this.#crop.region = null;
      this.#buttons(null);
      byId('crop-start').focus();
      acts.region(this.#index, null, true);
    });
  }

  #index = 0;

  show(state) {
    const {pictures, active, collection} = state;
    const one = pictures[active];
    this.#index = active;
    forgetOthers(pictures);
    this.#showStage(collection, one);
    this.#crop.region = one.region;
    this.#buttons(one.region);
    byId('query-name').replaceChildren(nameOf(one));
    byId('query-chips').replaceChildren(...(pictures.length > 1
      ? pictures.map((each, index) => this.#chip(collection, each, index, index === active)) : []));
    byId('query-chips').hidden = pictures.length < 2;
    byId('query-add').hidden = pictures.length >= MANY;
  }

  #showStage(collection, one) {
    const identity = one.file ?? one.url ?? `${collection}/${one.fileid}`;
    if (identity === this.#shown) {
      return;
    }
    this.#shown = identity;
    const place = byId('query-picture');
    releaseIn(place);
    const image = imageOf(collection, one);
    place.replaceChildren(image);
    this.#stage.classList.toggle('can-crop', false);
    if (image.tagName === 'IMG') {
      say(image, 'query.picture', {}, 'alt');
      image.addEventListener('load', () => {
        this.#stage.style.setProperty('--shape', `${image.naturalWidth} / ${image.naturalHeight}`);
        this.#stage.style.setProperty('--wide', String(image.naturalWidth / image.naturalHeight));
        this.#stage.classList.toggle('can-crop', true);
        this.#buttons(this.#crop.region);
      });
    }
  }

  #buttons(region) {
    const can = this.#stage.classList.contains('can-crop');
    byId('crop-start').hidden = !can || region !== null;
    byId('crop-remove').hidden = !can || region === null;
  }

  #chip(collection, one, index, isActive) {
    const plus = one.sign > 0;
    const number = {number: index + 1};
    return make('li', {class: `chip ${plus ? 'plus' : 'minus'}`},
      labelled(make('button', {class: 'chip-picture', type: 'button', 'aria-pressed': String(isActive), onclick: () => this.#acts.select(index)},
        imageOf(collection, one)), 'query.select', number),
      labelled(make('button', {class: 'chip-sign', type: 'button', onclick: () => this.#acts.sign(index)},
        icon(plus ? 'plus' : 'minus')), plus ? 'query.plus' : 'query.minus', number),
      labelled(make('button', {class: 'chip-remove', type: 'button', onclick: () => this.#acts.remove(index)},
        icon('close')), 'query.remove', number));
  }
}
