// GPU hours and disk space that people use, their quotas, and fair share in the queue.

import { button, el, toast } from './dom.js';
import { field, form, input, sent } from './people-parts.js';

const GB = 1e9;
const part = (value, quota, unit) => `${value}${quota === null ? '' : ` of ${quota}`} ${unit}`;

/** Describe the usage of a person, such as "1.2 of 10 GPU hours in 30 days, 3.4 GB on disk". */
export function used({ gpu_hours, disk_bytes, usage }) {
  if (!usage) return '';
  const hours = part(usage.gpu_hours.toFixed(1), gpu_hours, `GPU hours in ${usage.days} days`);
  return `${hours}, ${part((usage.disk_bytes / GB).toFixed(1), disk_bytes === null ? null : disk_bytes / GB, 'GB on disk')}`;
}

/** A button that shows a form with the quotas of a person, and that form. An empty field is no quota. */
export function quotas(person, draw) {
  const limit = (name, value) => input({ name, type: 'number', min: 0, step: 'any', value: value ?? '' });
  const hours = field('GPU hours in 30 days', limit('hours', person.gpu_hours));
  const disk = field('Disk (GB)', limit('disk', person.disk_bytes === null ? null : person.disk_bytes / GB));
  const number = (text, factor = 1) => (text === '' ? null : Number(text) * factor);
  const save = form('Save quotas', [hours, disk], async (values) => {
    const changes = { gpu_hours: number(values.hours), disk_bytes: number(values.disk, GB) };
    if (changes.disk_bytes !== null) changes.disk_bytes = Math.round(changes.disk_bytes);
    if (await sent('PATCH', `api/people/${person.id}`, changes)) await draw();
  });
  save.hidden = true;
  const show = button('Quotas', {
    kind: 'small',
    'aria-label': `Quotas: ${person.name}`,
    'aria-expanded': 'false',
    onclick: () => {
      save.hidden = !save.hidden;
      show.setAttribute('aria-expanded', String(!save.hidden));
    },
  });
  return { show, save };
}

/** The form for the days whose usage decides which of several people’s runs starts next. */
export function fairShare() {
  const days = input({ name: 'days', type: 'number', min: 0, max: 365, step: 1, required: true });
  const node = form('Save fair share', [field('Days (0: off)', days)], async (values) => {
    const answer = await sent('PUT', 'api/queue/fair-share', { days: Number(values.days) });
    if (answer) toast(answer.fair_share_days ? 'Fair share turned on.' : 'Fair share turned off.');
  });
  sent('GET', 'api/queue?limit=1').then((found) => {
    days.value = String(found?.fair_share_days ?? 0);
  });
  const text = 'Among runs of the same priority, the next one is that of the person who used devices the least in these days.';
  return el('div', {}, el('h3', { text: 'Fair share in the queue' }), el('p', { class: 'og-people-soft', text }), node);
}
