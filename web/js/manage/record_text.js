// A record as text that a person edits. JSON.parse would round integers beyond 2^53, and json64.js makes strings of
// them; here they are marked while parsing and written back as the numbers they were.

const TOKEN = /"[^"\\]*(?:\\[^][^"\\]*)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MARK = '\uE000'; // of the private use area: in no text that means something

/** {itemid, tags, brief} of a record's JSON text: digits, strings, indented JSON text. */
export function parseRecord(text) {
  const marked = text.replace(TOKEN, (token) => (token.startsWith('"') ? token : `"${MARK}${token}${MARK}"`));
  const {itemid, tags, brief} = JSON.parse(marked);
  const bare = (value) => String(value).replaceAll(MARK, '');
  return {
    itemid: bare(itemid),
    tags: (tags ?? []).map(bare),
    brief: JSON.stringify(brief ?? {}, null, 2).replace(new RegExp(`"${MARK}([^"]*)${MARK}"`, 'g'), '$1'),
  };
}

/** The JSON text of a change. `brief` is JSON text already. */
export function writeRecord({itemid, tags, brief}) {
  return `{"itemid":${itemid},"tags":${JSON.stringify(tags)},"brief":${brief}}`;
}

/** What is wrong with the text of a brief: null, or 'json' or 'object'. */
export function wrongBrief(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === 'object' && !Array.isArray(value) ? null : 'object';
  } catch {
    return 'json';
  }
}
