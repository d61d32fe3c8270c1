// What is said of a picture of the collection: on its card in the grid, and in the large view.

import {icon, make} from './dom.js';
import {say, text} from './i18n.js';
import {thumb} from './thumbs.js';

const TAGS_SHOWN = 2;
const SAME = 1e-4; // below, it is the same picture

/** What to call a picture: what its own data calls it, if that is something short. */
export function caption({brief}) {
  const path = typeof brief.path === 'string' ? brief.path.split('/').pop() : null;
  const found = [brief.title, brief.name, path].find((value) => typeof value === 'string' && value.trim() !== '');
  return found ? found.slice(0, 200) : '';
}

export const distanceText = (distance) => distance.toFixed(distance < 10 ? 3 : 1);
export const similarityText = (similarity) => `${similarity >= 99.95 ? 100 : Math.min(99.9, similarity).toFixed(similarity < 10 ? 1 : 0)} %`;

export function tagList(tags, limit = Infinity) {
  if (tags.length === 0) {
    return null;
  }
  const shown = tags.slice(0, limit).map((tag) => make('bdi', {class: 'tag', title: tag}, tag));
  const rest = tags.length - shown.length;
  return make('span', {class: 'tags'}, ...shown, rest > 0 ? make('span', {class: 'tag more-tags'}, `+${rest}`) : null);
}

function badges(hit) {
  if (!Number.isFinite(hit.distance)) {
    return [];
  }
  if (hit.distance < SAME) {
    return [say(make('span', {class: 'badge same'}), 'hit.same')];
  }
  const [key, value] = hit.similarity === null
    ? ['hit.distance', distanceText(hit.distance)] : ['hit.similarity', similarityText(hit.similarity)];
  return [make('span', {class: 'badge'}, say(make('span', {class: 'visually-hidden'}), key), ' ', value)];
}

/** "3 more views", once it is known. */
export function viewsBadge(views) {
  return make('span', {class: 'badge views'}, icon('stack'), say(make('span'), 'hit.views', {count: views}));
}

function identifier(hit, byFile) {
  const [key, value] = byFile ? ['hit.file', hit.fileid] : ['hit.item', hit.itemid];
  return make('span', {class: 'identifier'}, say(make('span', {class: 'label'}), key), ' ', make('span', {class: 'id'}, value));
}

function actionButton(name, key, run) {
  return say(say(make('button', {class: 'card-action', type: 'button', tabindex: '-1', onclick: run}, icon(name)),
    key, {}, 'aria-label'), key, {}, 'title');
}

/**
 * A card as li. `acts` has open(), more() and less(); `byFile` names the picture and not its item. Plus and minus on a
 * card with the focus do what its small buttons do.
 */
export function card(hit, acts, {byFile = false, views = 0} = {}) {
  const title = caption(hit);
  const keys = {'+': acts.more, '=': acts.more, '-': acts.less};
  const button = make('button', {
    class: 'card', type: 'button', 'data-fileid': hit.fileid, 'data-distance': hit.distance, onclick: acts.open,
    onkeydown: (event) => {
      if (keys[event.key] && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        keys[event.key]();
      }
    },
  },
  make('span', {class: 'frame'}, thumb(hit.thumbnail), ...badges(hit), views > 0 ? viewsBadge(views) : null),
  make('span', {class: 'facts'},
    title ? make('bdi', {class: 'caption', title}, title)
      : make('bdi', {class: 'caption'}, say(make('span'), 'details.untitled', {fileid: hit.fileid})),
    make('span', {class: 'figures'}, identifier(hit, byFile),
      hit.similarity !== null && Number.isFinite(hit.distance)
        ? make('span', {class: 'distance', title: text('hit.distance')},
          say(make('span', {class: 'visually-hidden'}), 'hit.distance'), ' ', distanceText(hit.distance)) : null),
    tagList(hit.tags, TAGS_SHOWN)));
  return make('li', {class: 'hit'}, button,
    make('span', {class: 'card-actions'},
      actionButton('plus', 'details.more', acts.more), actionButton('minus', 'details.less', acts.less)));
}
