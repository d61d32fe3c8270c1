// A file that a person gave → what is sent to the server. The file goes as it is, so that a picture which is in the
// collection is found at distance 0. Only one over SEND_AS_IS is made smaller first: the model looks at a few hundred
// pixels, and a scan of 30 MB would be sent again for every page of hits.

import {Failure} from './api.js';

const SEND_AS_IS = 8 * 1024 * 1024;
const SERVER_TAKES = 32 * 1024 * 1024;
const LONGEST_SIDE = 2048;
const LINK_SIDE = 288; // about what a model looks at
const LINK_QUALITY = 0.7;
const TYPES_BY_NAME = new Map([
  ['jpg', 'image/jpeg'], ['jpeg', 'image/jpeg'], ['png', 'image/png'], ['webp', 'image/webp'],
  ['gif', 'image/gif'], ['avif', 'image/avif'], ['heic', 'image/heic'], ['heif', 'image/heif'],
]);

/** The type the system gives, else by the name: some systems do not know HEIC and AVIF. '' is no picture. */
function pictureType(file) {
  if (file.type) {
    return file.type.startsWith('image/') ? file.type : '';
  }
  return TYPES_BY_NAME.get((file.name ?? '').split('.').pop().toLowerCase()) ?? '';
}

async function smaller(file, side = LONGEST_SIDE, quality = 0.92) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff'; // alpha is put on white, as the server does
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('no blob'))), 'image/jpeg', quality);
  });
}

/** A Blob with an image/… type, or a Failure of kind 'notpicture' or 'large'. */
export async function prepare(file) {
  const type = pictureType(file);
  if (!type) {
    throw new Failure('notpicture');
  }
  if (file.size > SEND_AS_IS) {
    try {
      return await smaller(file);
    } catch {
      // The browser cannot read it, but the server may: it is sent whole if it fits.
    }
    if (file.size > SERVER_TAKES) {
      throw new Failure('large');
    }
  }
  return file.type === type ? file : new Blob([file], {type});
}

/** A copy small enough for a link, as base64url text; '' where the browser cannot read the file. */
export async function smallCopy(file) {
  try {
    const bytes = new Uint8Array(await (await smaller(file, LINK_SIDE, LINK_QUALITY)).arrayBuffer());
    return btoa(Array.from(bytes, (one) => String.fromCharCode(one)).join(''))
      .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  } catch {
    return '';
  }
}
