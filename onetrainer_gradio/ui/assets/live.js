// The page's one connection to the server, and the store that the widgets read.
//
// A WebSocket brings a snapshot first (which is all that a reload needs) and then what changes. It reconnects by itself;
// where a proxy lets no WebSocket through, GET /api/events is polled instead.

const RETRY_FIRST_MS = 250;
const RETRY_LONGEST_MS = 5000;
const PING_MS = 20000;
const SILENCE_MS = 45000;
const POLL_MS = 1000;
const PATIENCE = 3; // times that a request is sent again
const LONGEST_PAUSE_S = 90;
const TRY_LATER = 1013; // close code: too many connections
const SIGNED_OUT = 4401;
const BLOCKED_AFTER = 3; // sockets that never opened while REST answers

// The page may live under a proxy's prefix: every path is relative to the document.
const base = new URL('.', document.baseURI);
export const url = (path) => new URL(path.replace(/^\//, ''), base).href;

/** An entry of an error as text; the message often names its place already. */
export const placed = ({ path, message }) => (path && !message.includes(path) ? `${path}: ${message}` : message);

/** What the server answered that was no success; `errors` has one entry for each place to change. */
class ApiError extends Error {
  constructor(status, body) {
    super(body?.error || (status ? `The server responded with status ${status}.` : 'Can’t reach the server.'));
    this.status = status;
    this.errors = body?.errors || [];
    this.body = body || {};
  }

  /** The error with its paths, each once: the message often has the first of them already. */
  get whole() {
    const more = this.errors.filter((each) => each.message && !this.message.includes(each.message));
    return [this.message, ...more.slice(0, 3).map(placed)].join(' ');
  }
}

// Undo takes back what this browser changed, also after a reload or in another tab.
const CLIENT = 'og-client';
const client =
  localStorage.getItem(CLIENT) ||
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
localStorage.setItem(CLIENT, client);

/** A request. If there were too many (429), it is sent again after the time in Retry-After. */
export async function request(where, options) {
  for (let tries = 1; ; tries += 1) {
    const answer = await fetch(where, options);
    if (answer.status !== 429 || tries > PATIENCE) return answer;
    const seconds = Number(answer.headers.get('Retry-After'));
    if (!seconds || seconds > LONGEST_PAUSE_S) return answer;
    tell('slowed', { seconds });
    await new Promise((resolve) => {
      setTimeout(resolve, seconds * 1000);
    });
  }
}

/** A call to the REST interface; the parsed answer, or an ApiError (status 0 when nobody answered). */
export async function api(method, path, body, { raw = false } = {}) {
  /** @type {any} */
  const options = { method, credentials: 'same-origin', headers: { Accept: 'application/json', 'X-Client': client } };
  if (body !== undefined) {
    options.body = raw ? body : JSON.stringify(body);
    options.headers['Content-Type'] = 'application/json';
  }
  let answer;
  try {
    answer = await request(url(path), options);
  } catch {
    throw new ApiError(0);
  }
  if (answer.status === 401) {
    location.assign(url('login'));
    throw new ApiError(401, { error: 'Please log in.' });
  }
  const parsed = await answer.json().catch(() => null);
  if (!answer.ok || parsed?.ok === false) throw new ApiError(answer.status, parsed);
  return parsed;
}

const ROLES = ['viewer', 'operator', 'owner'];
/** The role of who is signed in: the server adds it to the page if it isn't that of an owner. */
export const role = /** @type {any} */ (document.querySelector('meta[name=og-role]'))?.content || 'owner';
export const may = (needs) => ROLES.indexOf(role) >= ROLES.indexOf(needs);

const listeners = new Map();
/** @type {{ state: any, engine: any, view: string | null, snapshot: any, connection: string, connectionAt?: number, since: number, via: string }} */
export const store = {
  state: null,
  engine: null,
  view: null,
  snapshot: null,
  connection: 'connecting',
  since: 0,
  via: 'websocket',
};

/** The run that chart, console and problems show: the current one, or one selected in the list. */
export const viewed = () => store.view || store.state?.run_id || null;

/** Show another run (null: the current one again). */
export function view(runId) {
  store.view = runId === store.state?.run_id ? null : runId;
  tell('view', store.view);
}

/** Call `listener` for each message of `type`; returns the way out. */
export function on(type, listener) {
  if (!listeners.has(type)) listeners.set(type, new Set());
  listeners.get(type).add(listener);
  return () => listeners.get(type).delete(listener);
}

function tell(type, message) {
  for (const listener of listeners.get(type) || []) {
    try {
      listener(message);
    } catch (error) {
      console.error(error);
    }
  }
}

function connection(now) {
  if (store.connection === now) return;
  store.connection = now;
  store.connectionAt = Date.now();
  tell('connection', now);
}

function receive(message) {
  if (typeof message.seq === 'number') store.since = message.seq;
  if (message.type === 'connected') {
    store.snapshot = message;
    store.state = message.state;
    store.engine = message.engine;
    connection('live');
    tell('training_state', message);
  } else if (message.type === 'training_state') {
    store.state = message.state;
  } else if (message.type === 'engine') {
    store.engine = message.engine;
  }
  tell(message.type, message);
}

// fields of this page whose value isn't in the settings: the server rejects a start while one can't be used
let held = [];
export function hold(fields) {
  if (JSON.stringify(fields) === JSON.stringify(held)) return;
  held = fields;
  report();
}
function report() {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: 'open_edits', fields: held }));
  else if (polling) api('PUT', 'api/config/open-edits', { page: client, fields: held }).catch(() => {});
}

/** @type {any} */
let socket = null;
let retry = RETRY_FIRST_MS;
let timer = 0;
let neverOpened = 0;
let lastHeard = 0;
let polling = 0;
let cancelPolling = () => {};

function open() {
  clearTimeout(timer);
  if (socket && socket.readyState <= WebSocket.OPEN) return;
  const address = new URL('ws', base);
  address.protocol = base.protocol === 'https:' ? 'wss:' : 'ws:';
  let opened = false;
  const mine = new WebSocket(address);
  socket = mine;
  mine.onopen = () => {
    opened = true;
    neverOpened = 0;
    retry = RETRY_FIRST_MS;
    lastHeard = Date.now();
    stopPolling();
    if (held.length) report();
  };
  mine.onmessage = (event) => {
    lastHeard = Date.now();
    receive(JSON.parse(event.data));
  };
  mine.onclose = ({ code }) => {
    if (socket !== mine) return;
    socket = null;
    if (code === SIGNED_OUT) location.assign(url('login'));
    if (code === TRY_LATER) retry = RETRY_LONGEST_MS;
    if (!opened) neverOpened += 1;
    if (!polling) connection('lost');
    if (neverOpened >= BLOCKED_AFTER && !polling) startPolling();
    timer = setTimeout(open, polling ? 30000 : retry);
    retry = Math.min(retry * 2, RETRY_LONGEST_MS);
  };
}

function startPolling() {
  polling = 1;
  let fresh = true;
  const look = async () => {
    if (!polling) return;
    try {
      const answer = await api('GET', fresh ? 'api/events' : `api/events?since=${store.since}`);
      if (!polling) return;
      if (held.length) report();
      fresh = false;
      store.via = 'polling';
      if (answer.snapshot) receive({ type: 'connected', ...answer.snapshot });
      else connection('live');
      for (const message of answer.messages || []) receive(message);
      if (typeof answer.seq === 'number') store.since = answer.seq;
    } catch (error) {
      connection('lost');
      fresh = true;
      // a server that is gone is no proxy that blocks: the socket is tried again at its own pace
      if (error.status === 0) {
        stopPolling();
        neverOpened = 0;
        retry = RETRY_FIRST_MS;
        open();
        return;
      }
    }
    timer2 = setTimeout(look, POLL_MS);
  };
  let timer2 = setTimeout(look, 0);
  cancelPolling = () => clearTimeout(timer2);
}

function stopPolling() {
  if (polling) {
    polling = 0;
    cancelPolling();
  }
  store.via = 'websocket';
}

/** Open the connection and keep it. */
export function connect() {
  open();
  setInterval(() => {
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    // a laptop that slept has a socket that looks open and is dead
    if (Date.now() - lastHeard > SILENCE_MS) socket.close();
    else socket.send('ping');
  }, PING_MS);
  const soon = () => {
    if (document.hidden || store.connection === 'live') return;
    retry = RETRY_FIRST_MS;
    open();
  };
  document.addEventListener('visibilitychange', soon);
  window.addEventListener('online', soon);
}
