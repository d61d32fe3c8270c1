// What is asked for, as one plain object that is never changed in place:
//
//   collection  its name
//   pictures    [{kind: 'file', file} | {kind: 'url', url} | {kind: 'record', fileid}, each with sign 1 or −1 and
//               region null or [x, y, w, h] in 0…1]: more like those with 1, less like those with −1
//   active      which of them the large view shows
//   facets      [[field, [value, …]], …]: chosen values; one field's are alternatives
//   filter      an expression of the filter language, '' for none
//   least       lowest similarity shown, 0 to 100
//   group       one hit per item

export const EMPTY = {collection: null, pictures: [], active: 0, facets: [], filter: '', least: 0, group: true};

export const picture = (what) => ({sign: 1, region: null, ...what});

export const isAsked = ({pictures}) => pictures.some(({sign}) => sign > 0);

/** The state that asks for this picture alone, keeping the filters. */
export function only(state, what) {
  return {...state, pictures: what ? [picture(what)] : [], active: 0, least: 0};
}

export function withPicture(state, what) {
  const same = state.pictures.findIndex((one) => one.kind === 'record' && one.fileid === what.fileid);
  const pictures = same < 0
    ? [...state.pictures, picture(what)]
    : state.pictures.map((one, index) => (index === same ? {...one, ...what} : one));
  return isAsked({pictures}) ? {...state, pictures} : state;
}

/** With something else about picture `index`. */
export function changed(state, index, change) {
  return {...state, pictures: state.pictures.map((one, at) => (at === index ? {...one, ...change} : one))};
}

/** Without picture `index`; where only "less like" pictures would be left, the first of them counts as plus. */
export function without(state, index) {
  let pictures = state.pictures.filter((one, at) => at !== index);
  if (pictures.length && !isAsked({pictures})) {
    pictures = pictures.map((one, at) => (at === 0 ? {...one, sign: 1} : one));
  }
  return {...state, pictures, active: Math.max(0, Math.min(state.active, pictures.length - 1))};
}

export function toggled(state, field, value) {
  const chosen = new Map(state.facets);
  const values = chosen.get(field) ?? [];
  const next = values.includes(value) ? values.filter((one) => one !== value) : [...values, value];
  chosen.set(field, next);
  return {...state, facets: [...chosen].filter(([, left]) => left.length > 0)};
}

/** The facets and the expression as one filter; `except` leaves a field's facet out. */
export function wholeFilter({facets, filter}, except = null) {
  const parts = facets.filter(([field]) => field !== except).map(([field, values]) => {
    const list = `[${values.map((value) => JSON.stringify(value)).join(', ')}]`;
    return field === 'tags' ? `array_contains_any(tags, ${list})` : `${field} in ${list}`;
  });
  const typed = filter.trim();
  if (typed) {
    parts.unshift(parts.length ? `(${typed})` : typed);
  }
  return parts.join(' and ');
}
