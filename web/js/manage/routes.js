// The routes that only the administration uses.

import {at, json, record, request, withParameters} from '../api.js';

const body = (value) => ({headers: {'Content-Type': 'application/json'}, body: JSON.stringify(value)});

export const models = async () => (await json('/v1/models')).models;
export const statistics = (collection) => json(at(collection));
export const createCollection = (collection, options) => json(at(collection), {method: 'PUT', ...body(options)});
export const dropCollection = (collection) => json(at(collection), {method: 'DELETE'});

export const tune = (collection) => json(`${at(collection)}/tune`, {method: 'POST', ...body({})});
export const untune = (collection) => json(`${at(collection)}/tune`, {method: 'DELETE'});
export const reembed = (collection, model, thumbnails) => json(`${at(collection)}/reembed`, {method: 'POST', ...body({model, thumbnails})});

export const evaluate = (collection) => json(`${at(collection)}/eval`, {method: 'POST', ...body({})});

export const job = (id) => json(`/v1/jobs/${encodeURIComponent(id)}`);
export const jobs = async () => (await json('/v1/jobs')).jobs;
export const cancelJob = (id) => json(`/v1/jobs/${encodeURIComponent(id)}`, {method: 'DELETE'});

export const keys = async () => (await json('/v1/keys')).keys;
export const createKey = (key) => json('/v1/keys', {method: 'POST', ...body(key)});
export const revokeKey = (id) => json(`/v1/keys/${encodeURIComponent(id)}`, {method: 'DELETE'});

const imageAt = (collection, fileid) => `${at(collection)}/images/${fileid}`;

/** The reply as text: numbers of 64 bits have to survive being edited. */
export const imageText = async (collection, fileid) => (await request(imageAt(collection, fileid))).text();
export const deleteImage = (collection, fileid) => json(imageAt(collection, fileid), {method: 'DELETE'});
export const deleteImages = async (collection, filter) => Number(
  (await json(withParameters(`${at(collection)}/images`, {filter}), {method: 'DELETE'})).deleted);
export const patchImage = (collection, fileid, text) => json(imageAt(collection, fileid),
  {method: 'PATCH', headers: {'Content-Type': 'application/json'}, body: text});
export const replacePicture = (collection, fileid, blob) => json(imageAt(collection, fileid),
  {method: 'PATCH', headers: {'Content-Type': blob.type}, body: blob});
export const putImage = (collection, fileid, parameters, blob, signal) => json(
  withParameters(imageAt(collection, fileid), parameters),
  {method: 'PUT', headers: {'Content-Type': blob.type}, body: blob, signal});

export const metricsText = async () => (await request('/metrics')).text();
export const description = () => json('/openapi.json');

/** What there is to choose from when a collection is made or learned from: {models, can}. */
export async function serverFacts() {
  const [known, can] = await Promise.all([models().catch(() => []), abilities().catch(() => ({options: {}}))]);
  return {models: known.filter(({kind}) => kind !== 'mask'), can};
}

/** What this server's own description says it can do with a collection: {tune, eval, reembed}, and options at its making. */
export async function abilities() {
  const {paths} = await description();
  const part = Object.keys(paths).find((path) => /^\/v1\/collections\/\{\w+\}$/.test(path));
  const has = (name) => paths[`${part}/${name}`]?.post !== undefined;
  const schema = paths[part]?.put?.requestBody?.content?.['application/json']?.schema ?? {};
  return {tune: has('tune'), eval: has('eval'), reembed: has('reembed'), options: schema.properties ?? {}};
}

/** A search with everything as JSON: what the lab compares. */
export async function rawSearch(collection, asked, signal) {
  const reply = await json(`${at(collection)}/search`, {method: 'POST', ...body(asked), signal});
  return {...reply, hits: reply.hits.map(record), milliseconds: Number(reply.took_ms)};
}
