// The pictures that are searched for; they stay in sight as long as their hits do. One of them is large, with the crop
// box; where there are several, each is a chip with its sign.

import {thumbnailAddress, thumbnailOf} from './api.js';
import {Crop} from './crop.js';
import {byId, icon, make} from './dom.js';
import {say} from './i18n.js';
import {prepare} from './picture.js';
import {releaseIn, thumb} from './thumbs.js';

const MANY = 8; // pictures in one search

const addresses = new Map(); // file or url → address of a blob; given back when it is no longer shown
const fetched = new Map(); // file or url → promise of its small copy, made by the server

const sourceOf = (one) => one.file ?? one.url;

function addressOf(source, blob) {
  if (!addresses.has(source)) {
    addresses.set(source, URL.createObjectURL(blob));
  }
  return addresses.get(source);
}

function forgetOthers(pictures) {
  for (const [source, address] of addresses) {
    if (!pictures.some((one) => sourceOf(one) === source)) {
      URL.revokeObjectURL(address);
      addresses.delete(source);
      fetched.delete(source);
    }
  }
}

/** What the browser must not fetch or cannot read, as the server sees it. Asked for once. */
function seenByServer(one) {
  const source = sourceOf(one);
  if (!fetched.has(source)) {
    fetched.set(source, (async () => thumbnailOf(one.kind === 'url' ? {url: one.url} : await prepare(one.file)))());
  }
  return fetched.get(source);
}

function decoded(value) {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** The address of a picture in words, until the server has fetched it; the page itself asks nobody else. */
function addressCard(url) {
  const {hostname, pathname} = new URL(url);
  return make('span', {class: 'query-address', title: url}, icon('link'),
    make('bdi', {class: 'query-host'}, hostname),
    make('bdi', {class: 'query-path'}, decoded(pathname.split('/').pop() || pathname)));
}

const SIZE = {width: 300, height: 400};

/** Put the picture into `place`; `shown(image)` hears when there is one to look at. */
function showIn(place, collection, one, shown = () => {}) {
  releaseIn(place);
  const put = (image) => {
    place.replaceChildren(image);
    if (image.tagName === 'IMG') {
      say(image, 'query.picture', {}, 'alt');
      image.addEventListener('load', () => shown(image));
    }
    return image;
  };
  const askServer = async () => {
    const before = place.firstChild;
    try {
      const blob = await seenByServer(one);
      if (place.firstChild === before && place.isConnected) {
        put(thumb(addressOf(sourceOf(one), blob), SIZE));
      }
    } catch {
      // The search says what is wrong with it.
    }
  };
  if (one.kind === 'record') {
    put(thumb(thumbnailAddress(collection, one.fileid), SIZE));
  } else if (one.kind === 'url') {
    place.replaceChildren(addressCard(one.url));
    queueMicrotask(askServer);
  } else {
    const image = put(thumb(addressOf(one.file, one.file), SIZE));
    image.addEventListener('error', () => { // HEIC, in most browsers
      URL.revokeObjectURL(addresses.get(one.file));
      addresses.delete(one.file);
      queueMicrotask(askServer);
    });
  }
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
    this.#stage.classList.toggle('can-crop', false);
    showIn(byId('query-picture'), collection, one, (image) => {
      this.#stage.style.setProperty('--shape', `${image.naturalWidth} / ${image.naturalHeight}`);
      this.#stage.style.setProperty('--wide', String(image.naturalWidth / image.naturalHeight));
      this.#stage.classList.toggle('can-crop', true);
      this.#buttons(this.#crop.region);
    });
  }

  #buttons(region) {
    const can = this.#stage.classList.contains('can-crop');
    byId('crop-start').hidden = !can || region !== null;
    byId('crop-remove').hidden = !can || region === null;
  }

  #chip(collection, one, index, isActive) {
    const plus = one.sign > 0;
    const number = {number: index + 1};
    const picture = make('button', {
      class: 'chip-picture', type: 'button', 'aria-pressed': String(isActive), onclick: () => this.#acts.select(index),
    });
    showIn(picture, collection, one);
    return make('li', {class: `chip ${plus ? 'plus' : 'minus'}`},
      labelled(picture, 'query.select', number),
      labelled(make('button', {class: 'chip-sign', type: 'button', onclick: () => this.#acts.sign(index)},
        icon(plus ? 'plus' : 'minus')), plus ? 'query.plus' : 'query.minus', number),
      labelled(make('button', {class: 'chip-remove', type: 'button', onclick: () => this.#acts.remove(index)},
        icon('close')), 'query.remove', number));
  }
}
