// Pictures of the collection as elements. With a key they are fetched with it and shown from memory, because an <img>
// cannot send a header; the memory is given back when the element has left the page (releaseIn()).

import {request} from './api.js';
import {key} from './auth.js';
import {icon, make} from './dom.js';

const held = new WeakMap(); // img → {control, address}

async function loadWithKey(image, address) {
  const state = {control: new AbortController(), address: null};
  held.set(image, state);
  try {
    const blob = await (await request(address, {signal: state.control.signal})).blob();
    if (!state.control.signal.aborted) {
      state.address = URL.createObjectURL(blob);
      image.src = state.address;
    }
  } catch (error) {
    if (error.name !== 'AbortError') {
      image.dispatchEvent(new Event('error'));
    }
  }
}

/** Give back what the pictures inside `element` hold; for elements that are thrown away. */
export function releaseIn(element) {
  for (const image of element.querySelectorAll('img')) {
    const state = held.get(image);
    if (state) {
      state.control.abort();
      URL.revokeObjectURL(state.address);
      held.delete(image);
    }
  }
}

const noPicture = () => make('span', {class: 'no-picture'}, icon('picture'));

/** An image of that address; an icon where there is none or it does not load. */
export function thumb(address, {width = 240, height = 320} = {}) {
  if (!address) {
    return noPicture();
  }
  const image = make('img', {alt: '', width, height, decoding: 'async', draggable: 'false'});
  image.addEventListener('error', () => image.replaceWith(noPicture()));
  if (key() && !address.startsWith('blob:')) {
    loadWithKey(image, address);
  } else {
    image.src = address;
  }
  return image;
}
