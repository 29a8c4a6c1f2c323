// The page of a link: the state of one run, or the gallery, and nothing else. It polls, because a link has no live feed.
const at = (id) => document.getElementById(id);
const EVERY_MS = 5000;
// After a command, its effect is shown soon.
const OFTEN_MS = 1000;
const OFTEN_FOR_MS = 10000;
const WORDS = { idle: 'Ended', starting: 'Starting', running: 'Training', stopping: 'Stopping', completed: 'Finished', error: 'Failed' };
const COMMANDS = { pause: 'Pause', resume: 'Resume', sample: 'Sample now', backup: 'Back up now', save: 'Save now', stop: 'Stop' };

const count = (number) => number.toLocaleString('en');

let shown = null;
let oldest = null;
let timer = 0;
let oftenUntil = 0;

function made(tag, text = '', attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

async function asked(path, options = {}) {
  const reply = await fetch(path, options);
  const body = await reply.json().catch(() => ({}));
  if (!reply.ok) {
    const gone = reply.status === 401 || reply.status === 404;
    throw new Error(gone ? 'This link has expired, was revoked, or its run was deleted.' : body.error || 'The panel reports an error.');
  }
  return body;
}

function setMessage(text, bad = false) {
  const place = at('message');
  if (place.textContent !== text) place.textContent = text;
  place.classList.toggle('bad', bad);
}

function duration(seconds) {
  if (seconds == null) return '–';
  const minutes = Math.round(seconds / 60);
  return minutes < 1 ? 'less than a minute' : minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function showRun(run, loss) {
  at('run').hidden = false;
  at('state').textContent = run.paused ? 'Paused' : WORDS[run.status] || run.status;
  at('progress').value = run.total_steps ? Math.min(1, run.global_step / run.total_steps) : 0;
  const facts = {
    Step: run.total_steps ? `${count(run.global_step)} of ${count(run.total_steps)}` : count(run.global_step),
    Epoch: run.epoch,
    Loss: run.loss == null ? '–' : run.loss.toPrecision(4),
    'Time left': run.active ? duration(run.eta_s) : '–',
  };
  const rows = Object.entries(facts).map(([name, value]) => {
    const row = made('div');
    row.append(made('dt', name), made('dd', `${value}`));
    return row;
  });
  at('facts').replaceChildren(...rows);
  draw(loss);
}

function draw(loss) {
  const values = loss?.max?.smooth_loss ?? [];
  const points = values.map((value, index) => [loss.x[index], value]).filter(([, value]) => value != null);
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const place = ([x, y]) => `${((x - left) / (right - left || 1)) * 600},${195 - ((y - low) / (high - low || 1)) * 190}`;
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
  line.setAttribute('points', points.map(place).join(' '));
  at('chart').replaceChildren(line);
  at('range').textContent = points.length ? `${low.toPrecision(3)} to ${high.toPrecision(3)}, steps ${count(left)} to ${count(right)}` : 'No steps yet.';
}

function showControls(run, role) {
  const place = at('controls');
  place.hidden = role !== 'operator' || !run?.controllable;
  if (place.hidden) return;
  if (!place.childElementCount) addControls(place);
  place.querySelector('.pause').hidden = run.paused;
  place.querySelector('.resume').hidden = !run.paused;
}

function addControls(place) {
  for (const [name, label] of Object.entries(COMMANDS)) {
    const button = made('button', label, { type: 'button', class: name });
    button.addEventListener('click', async () => {
      button.disabled = true;
      await asked(`api/shared/${name}`, { method: 'POST' })
        .then(() => setMessage(`${label}: sent to the run.`))
        .catch((error) => setMessage(error.message, true));
      button.disabled = false;
      oftenUntil = Date.now() + OFTEN_FOR_MS;
      lookIn(OFTEN_MS / 4);
    });
    place.append(button);
  }
}

function sampleOf(sample) {
  const item = made('li');
  const link = made('a', '', { href: `api/samples/${sample.id}/image`, target: '_blank', rel: 'noopener' });
  const prompt = sample.prompt || 'Sample';
  link.append(made('img', '', { src: `api/samples/${sample.id}/thumbnail`, alt: prompt, loading: 'lazy' }));
  link.append(made('span', `Step ${count(sample.step)}: ${prompt}`));
  item.append(link);
  return item;
}

async function showSamples(older = false) {
  const page = await asked(`api/shared/samples${older && oldest ? `?before=${encodeURIComponent(oldest)}` : ''}`);
  const newest = page.samples[0]?.id ?? '';
  if (!older && newest === shown) return;
  const items = page.samples.map(sampleOf);
  if (older) at('samples').append(...items);
  else at('samples').replaceChildren(...items);
  if (!older) shown = newest;
  oldest = page.next_before;
  at('more').hidden = !oldest;
  at('none').hidden = at('samples').childElementCount > 0;
}

async function look() {
  try {
    const found = await asked('api/shared');
    at('title').textContent = found.title;
    document.title = `${found.title} · OneTrainer panel`;
    at('until').textContent = `This link works until ${new Date(found.expires * 1000).toLocaleString()}.`;
    if (found.run) showRun(found.run, found.loss);
    showControls(found.run, found.role);
    await showSamples();
    if (at('message').classList.contains('bad')) setMessage('');
  } catch (error) {
    setMessage(error.message, true);
  }
  lookIn(document.hidden ? 4 * EVERY_MS : Date.now() < oftenUntil ? OFTEN_MS : EVERY_MS);
}

function lookIn(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(look, milliseconds);
}

document.addEventListener('visibilitychange', () => document.hidden || lookIn(0));

at('more').addEventListener('click', () => showSamples(true).catch((error) => setMessage(error.message, true)));
look();
