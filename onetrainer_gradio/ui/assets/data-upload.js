// Uploads into a dataset: files, folders and zip archives, in pieces that continue after a broken connection.

import { api, request, url } from './live.js';

const AT_ONCE = 3;
const TRIES = 6;
const RETRY_MS = 1500;
const POLL_MS = 500;

/** @typedef {{ file: File, name: string }} Dropped */

const pause = (ms) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

async function digest(data) {
  if (!crypto.subtle) return ''; // only pages from this machine or over HTTPS have it
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Send a piece, and return the upload after it; the server's offset counts after a broken connection. */
async function send(upload, file) {
  const piece = await file.slice(upload.offset, upload.offset + upload.piece_bytes).arrayBuffer();
  const query = new URLSearchParams({ offset: String(upload.offset), sha256: await digest(piece) });
  const answer = await request(url(`api/datasets/uploads/${upload.id}?${query}`), {
    method: 'PUT',
    body: piece,
    headers: { 'Content-Type': 'application/octet-stream' },
    credentials: 'same-origin',
  });
  const result = await answer.json();
  if (answer.ok) return result;
  if (answer.status === 409) return api('GET', `api/datasets/uploads/${upload.id}`);
  throw Object.assign(new Error(result.error), { status: answer.status });
}

/** Upload one file; `progress(upload)` follows it. Returns the upload when it is in the dataset. */
async function uploadOne(dataset, { file, name }, batch, progress, stopped) {
  let upload = await api('POST', 'api/datasets/uploads', { dataset, name, bytes: file.size, batch });
  let tries = 0;
  while (upload.state === 'receiving' && !stopped()) {
    try {
      upload = await send(upload, file);
      tries = 0;
    } catch (error) {
      if (error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
      tries += 1;
      if (tries > TRIES) throw error;
      await pause(RETRY_MS * tries);
      upload = await api('GET', `api/datasets/uploads/${upload.id}`).catch(() => upload);
    }
    progress(upload);
  }
  while (['placing', 'unpacking'].includes(upload.state)) {
    await pause(POLL_MS);
    upload = await api('GET', `api/datasets/uploads/${upload.id}`);
    progress(upload);
  }
  if (upload.state === 'failed') throw new Error(upload.error);
  return upload;
}

/**
 * Upload files into a dataset of the panel: images before captions, three at a time.
 * `progress({ done, files, bytes, sent, added, problems })` follows. Returns the last of these, and `stop()` ends it.
 * @param {string} dataset
 * @param {Dropped[]} dropped
 */
export function uploadFiles(dataset, dropped, progress) {
  const caption = ({ name }) => Number(name.toLowerCase().endsWith('.txt'));
  const queue = [...dropped].sort((a, b) => caption(a) - caption(b) || a.name.localeCompare(b.name));
  const batch = `${Date.now()}-${Math.random()}`;
  const state = {
    done: 0,
    files: queue.length,
    bytes: queue.reduce((sum, { file }) => sum + file.size, 0),
    sent: 0,
    added: 0,
    doing: '',
    problems: /** @type {string[]} */ ([]),
  };
  let stopped = false;
  async function work() {
    for (let next = queue.shift(); next && !stopped; next = queue.shift()) {
      let sent = 0;
      const follow = (upload) => {
        state.sent += upload.offset - sent;
        sent = upload.offset;
        state.doing = upload.state === 'unpacking' ? `Unpacking ${upload.name}` : '';
        progress(state);
      };
      try {
        const upload = await uploadOne(dataset, next, batch, follow, () => stopped);
        state.added += upload.added;
        state.problems.push(...upload.skipped.map(([name, why]) => `${name}: ${why}`));
      } catch (error) {
        state.problems.push(`${next.name}: ${error.message}`);
      }
      state.done += 1;
      progress(state);
    }
  }
  // captions come last: they follow their images to another name
  const finished = Promise.all(Array.from({ length: AT_ONCE }, work)).then(() => state);
  return {
    finished,
    stop() {
      stopped = true;
    },
  };
}

const ACCEPTED = /\.(bmp|jpe?g|png|tiff?|webp|avif|gif|heic|heif|jxl|jfif|txt|zip|mp4|mov|mkv|webm|avi)$/i;

/** The files of a drop, those in folders too, as `{ file, name }`; of those that a dataset can hold. */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return chosenFiles(transfer.files);
  /** @type {Dropped[]} */
  const found = [];
  async function walk(entry, path) {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (ACCEPTED.test(file.name)) found.push({ file, name: path + file.name });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!part.length) return;
      for (const each of part) await walk(each, `${path}${entry.name}/`);
    }
  }
  for (const entry of entries) await walk(entry, '');
  return found;
}

/** The files of an input, or of the clipboard. */
export const chosenFiles = (files) =>
  [...files].filter((file) => ACCEPTED.test(file.name)).map((file) => ({ file, name: file.name }));
