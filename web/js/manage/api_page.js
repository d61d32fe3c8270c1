// The API from its own description, /openapi.json: what there is, what it takes, and a form that sends it.

import {request} from '../api.js';
import {make} from '../dom.js';
import {say} from '../i18n.js';
import {button, field, heading, missing, select} from './parts.js';
import {description} from './routes.js';

const METHODS = ['get', 'put', 'post', 'patch', 'delete', 'head'];
const SHOWN = 20000; // characters of a reply

/** What a $ref names; two levels of them are followed where a schema is drawn. */
function resolve(api, value) {
  let found = value;
  for (let depth = 0; found?.$ref && depth < 8; depth += 1) {
    found = found.$ref.split('/').slice(1).reduce((at, part) => at?.[part.replaceAll('~1', '/').replaceAll('~0', '~')], api);
  }
  return found ?? {};
}

/** An example of what a schema describes, as short as it may be. */
function exampleOf(api, raw, depth = 0) {
  const schema = resolve(api, raw);
  if (schema.example !== undefined || schema.examples?.length || schema.default !== undefined) {
    return schema.example ?? schema.examples?.[0] ?? schema.default;
  }
  if (schema.const !== undefined || schema.enum) {
    return schema.const ?? schema.enum[0];
  }
  const variant = schema.oneOf?.[0] ?? schema.anyOf?.[0];
  if (variant && !schema.properties) {
    return exampleOf(api, variant, depth);
  }
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === 'object' || schema.properties) {
    const required = new Set(schema.required ?? []);
    const names = Object.keys(schema.properties ?? {});
    const wanted = required.size || depth > 2 ? names.filter((name) => required.has(name)) : names.slice(0, 6);
    return Object.fromEntries(wanted.map((name) => [name, exampleOf(api, schema.properties[name], depth + 1)]));
  }
  return {array: () => [], integer: () => schema.minimum ?? 1, number: () => schema.minimum ?? 1, boolean: () => true}[type]?.() ?? '';
}

const typeText = (schema) => [schema.type, schema.format].flat().filter(Boolean).join(' · ') || (schema.enum ? 'enum' : '');

function quote(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A request out of what the form holds, as arguments of fetch(). */
function requestOf({path, method, inputs, body}) {
  let address = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const {parameter, control} of inputs) {
    if (control.value === '') {
      continue;
    }
    if (parameter.in === 'path') {
      address = address.replace(`{${parameter.name}}`, encodeURIComponent(control.value));
    } else if (parameter.in === 'query') {
      query.append(parameter.name, control.value);
    } else if (parameter.in === 'header') {
      headers[parameter.name] = control.value;
    }
  }
  const options = {method: method.toUpperCase(), headers};
  if (body) {
    const sent = body.value();
    if (sent !== null && sent !== '') {
      options.body = sent;
      if (!(sent instanceof FormData)) {
        headers['Content-Type'] = sent instanceof Blob && body.type().includes('*') ? sent.type : body.type();
      }
    }
  }
  return {address: query.size ? `${address}?${query}` : address, options};
}

function curlOf({address, options}) {
  const words = ['curl', '-s'];
  if (options.method !== 'GET') {
    words.push('-X', options.method);
  }
  for (const [name, value] of Object.entries(options.headers)) {
    words.push('-H', quote(`${name}: ${value}`));
  }
  if (typeof options.body === 'string') {
    words.push('-d', quote(options.body));
  } else if (options.body instanceof Blob) {
    words.push('--data-binary', quote(`@${options.body.name ?? 'picture.jpg'}`));
  } else if (options.body instanceof FormData) {
    words.push('-F', 'image=@picture.jpg');
  }
  return [...words, quote(location.origin + address)].join(' ');
}

/** The control of a body: text for JSON and its kind, a file for pictures. */
function bodyControl(api, requestBody) {
  const content = resolve(api, requestBody).content ?? {};
  const types = Object.keys(content);
  if (types.length === 0) {
    return null;
  }
  const area = make('textarea', {rows: '6', spellcheck: 'false', dir: 'ltr'});
  const file = make('input', {type: 'file'});
  const areaField = field('api.body', area);
  const fileField = field('api.file', file);
  const show = (type) => {
    const isText = /json|text|urlencoded/.test(type);
    areaField.hidden = !isText;
    fileField.hidden = isText;
    if (isText) {
      const {example, examples, schema} = content[type];
      const value = example ?? Object.values(examples ?? {})[0]?.value ?? exampleOf(api, schema ?? {});
      area.value = type.includes('ndjson') || typeof value === 'string' ? String(value) : JSON.stringify(value, null, 2);
    }
  };
  const choice = select(types.map((type) => [type, {text: type}]), types.find((type) => type.endsWith('json')) ?? types[0], show);
  show(choice.value);
  return {
    element: make('div', {class: 'form-grid one'}, field('api.type', choice), areaField, fileField),
    type: () => choice.value,
    value: () => {
      if (!areaField.hidden) {
        return area.value;
      }
      const chosen = file.files[0] ?? null;
      if (!choice.value.startsWith('multipart/') || !chosen) {
        return chosen;
      }
      const form = new FormData();
      form.append('image', chosen);
      return form;
    },
  };
}

async function send(asked, place) {
  const start = performance.now();
  let response;
  try {
    response = await request(asked.address, asked.options);
  } catch (failure) {
    place.replaceChildren(make('p', {class: 'api-status bad'}, failure.status ? String(failure.status) : say(make('span'), `failure.${failure.kind ?? 'page'}`)),
      make('pre', {tabindex: '0'}, failure.detail));
    return;
  }
  const type = response.headers.get('Content-Type') ?? '';
  const line = make('p', {class: 'api-status good'}, `${response.status} · ${Math.round(performance.now() - start)} ms · ${type}`);
  if (type.startsWith('image/')) {
    const address = URL.createObjectURL(await response.blob());
    const image = make('img', {alt: '', src: address});
    image.addEventListener('load', () => URL.revokeObjectURL(address));
    place.replaceChildren(line, image);
    return;
  }
  const text = await response.text();
  place.replaceChildren(line, make('pre', {tabindex: '0', dir: 'ltr'}, text.slice(0, SHOWN) + (text.length > SHOWN ? ' …' : '')));
}

function parameterField(api, raw) {
  const parameter = resolve(api, raw);
  const schema = resolve(api, parameter.schema);
  const control = schema.enum
    ? select([['', {text: ''}], ...schema.enum.map((value) => [String(value), {text: String(value)}])], '')
    : make('input', {type: 'text', autocomplete: 'off', spellcheck: 'false', placeholder: String(parameter.example ?? schema.example ?? schema.default ?? '')});
  const element = make('label', {class: 'field'},
    make('span', {}, make('code', {}, parameter.name), parameter.required ? ' *' : '', make('small', {}, ` ${typeText(schema)}`)), control,
    parameter.description ? make('small', {}, parameter.description) : null);
  return {parameter, control, element};
}

function fill(api, place, {path, method, operation, shared}) {
  const inputs = [...(shared ?? []), ...(operation.parameters ?? [])].map((one) => parameterField(api, one));
  const body = operation.requestBody ? bodyControl(api, operation.requestBody) : null;
  const reply = make('div', {class: 'api-reply', role: 'status'});
  const curl = make('pre', {class: 'api-curl', tabindex: '0', dir: 'ltr'});
  const asked = () => requestOf({path, method, inputs, body});
  const showCurl = () => {
    curl.textContent = curlOf(asked());
  };
  const responses = Object.entries(operation.responses ?? {}).map(([status, raw]) => make('li', {}, make('code', {}, status), ' ', resolve(api, raw).description ?? ''));
  place.append(
    operation.description ? make('p', {class: 'api-text'}, operation.description) : '',
    make('ul', {class: 'api-responses'}, ...responses),
    make('form', {class: 'api-form', novalidate: true, oninput: showCurl, onsubmit: async (event) => {
      event.preventDefault();
      showCurl();
      const sender = event.submitter;
      sender.disabled = true;
      await send(asked(), reply);
      sender.disabled = false;
    }}, make('div', {class: 'form-grid'}, ...inputs.map(({element}) => element)), body?.element ?? '', curl,
    button('api.send', null, {look: 'primary', type: 'submit'})), reply);
  showCurl();
}

function operationBox(api, one) {
  const box = make('details', {class: 'panel operation', 'data-operation': `${one.method} ${one.path}`},
    make('summary', {}, make('span', {class: `method ${one.method}`}, one.method.toUpperCase()), make('code', {}, one.path),
      make('span', {class: 'api-summary'}, one.operation.summary ?? '')));
  box.addEventListener('toggle', () => {
    if (box.open && box.children.length === 1) {
      const place = make('div', {class: 'operation-body'});
      box.append(place);
      fill(api, place, one);
    }
  });
  return box;
}

export async function open(place) {
  let api;
  try {
    api = await description();
  } catch (failure) {
    if (failure.kind !== 'missing') {
      throw failure;
    }
    place.append(heading('api'), missing('api.missing'));
    return null;
  }
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths ?? {})) {
    for (const method of METHODS.filter((name) => item[name])) {
      const [tag] = item[method].tags ?? ['API'];
      groups.set(tag, [...groups.get(tag) ?? [], {path, method, operation: item[method], shared: item.parameters}]);
    }
  }
  place.append(heading('api'), make('p', {class: 'page-status'}, make('a', {href: '/openapi.json', target: '_blank', rel: 'noopener'}, '/openapi.json'),
    ` · OpenAPI ${api.openapi} · ${api.info?.version ?? ''}`),
  ...[...groups].flatMap(([tag, operations]) => [make('h2', {class: 'section-title'}, make('bdi', {}, tag)), ...operations.map((one) => operationBox(api, one))]));
  return null;
}
