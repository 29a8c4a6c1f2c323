// How often each timestep is drawn: a live plot of the distribution under the settings, also while they are being typed.

import { asking } from './asking.js';
import { el, format, setVisible } from './dom.js';
import { api } from './live.js';

const DEPENDS = [
  'model_type',
  'timestep_distribution',
  'noising_weight',
  'noising_bias',
  'min_noising_strength',
  'max_noising_strength',
  'timestep_shift',
  'dynamic_timestep_shifting',
  'resolution',
  'concepts',
];
const TONES = ['--og-accent', '--og-second', '--og-warn', '--og-muted'];
const HIGHEST = 8;
const [LEFT, RIGHT, ABOVE, BELOW] = [40, 10, 10, 36];

export function timesteps(settings) {
  const canvas = el('canvas', { class: 'og-canvas', role: 'img', tabindex: 0 });
  const readout = el('div', { class: 'og-readout', hidden: true });
  const wrap = el('div', { class: 'og-canvas-wrap og-draw' }, canvas, readout);
  const keys = el('ul', { class: 'og-draw-keys' });
  const notes = el('div', { class: 'og-draw-notes' });
  const node = el(
    'figure',
    { class: 'og-figure', 'aria-label': 'Timestep sampling density' },
    el(
      'figcaption',
      {},
      el('b', { text: 'Timestep sampling density' }),
      el('span', { class: 'og-muted', text: 'Relative sampling frequency of each timestep (1 = uniform)' }),
    ),
    wrap,
    keys,
    notes,
  );
  /** @type {any} */
  let drawn = null;
  /** @type {any} */
  let pointed = null;

  // of the concepts only what they say of sizes counts
  const depends = () => DEPENDS;
  const problem = asking(
    settings,
    node,
    depends,
    (changes) => {
      const { concepts: _, ...rest } = changes;
      return api('POST', 'api/config/timesteps', { changes: rest });
    },
    (answer) => {
      drawn = answer;
      words();
      paint();
    },
  );
  wrap.after(problem);

  const nameOf = (curve) => (curve.width ? `${curve.width} × ${curve.height}` : '');

  function words() {
    keys.replaceChildren(
      ...drawn.curves.map((curve, at) => {
        const [least, middle, most] = curve.quantiles;
        return el(
          'li',
          {},
          el('i', { style: `background: var(${TONES[at % TONES.length]})` }),
          el(
            'span',
            {},
            nameOf(curve) && el('b', { text: `${nameOf(curve)} ` }),
            drawn.dynamic && el('span', { class: 'og-muted', text: `shift ${curve.shift.toFixed(2)} · ` }),
            el('span', { text: `median ${middle}, 80% between ${least} and ${most}` }),
          ),
        );
      }),
    );
    notes.replaceChildren(...drawn.notes.map((text) => el('p', { class: 'og-note', text })));
    canvas.setAttribute(
      'aria-label',
      drawn.curves
        .map(
          (curve) =>
            `${nameOf(curve)} mean timestep ${format.count(curve.mean)} of ${drawn.timesteps}, median ${curve.quantiles[1]}`,
        )
        .join('; '),
    );
  }

  function paint() {
    if (!drawn || !wrap.clientWidth) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [wrap.clientWidth, wrap.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    brush.scale(ratio, ratio);
    const looks = getComputedStyle(wrap);
    const color = (name) => looks.getPropertyValue(name).trim();
    const top = Math.min(HIGHEST, Math.max(1.6, ...drawn.curves.map((curve) => Math.max(...curve.density) * 1.08)));
    const px = (part) => LEFT + part * (width - LEFT - RIGHT);
    const py = (value) => ABOVE + (1 - Math.min(value, top * 1.1) / top) * (height - ABOVE - BELOW);

    brush.font = `11.5px ${looks.fontFamily}`;
    brush.lineWidth = 1;
    brush.textBaseline = 'middle';
    brush.textAlign = 'right';
    const step = top > 4 ? 2 : top > 2 ? 1 : 0.5;
    for (let value = 0; value <= top; value += step) {
      const y = Math.round(py(value)) + 0.5;
      brush.strokeStyle = color('--og-line');
      brush.beginPath();
      brush.moveTo(LEFT, y);
      brush.lineTo(width - RIGHT, y);
      brush.stroke();
      brush.fillStyle = color('--og-muted');
      brush.fillText(`× ${value}`, LEFT - 7, y);
    }
    brush.textBaseline = 'top';
    brush.textAlign = 'center';
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      brush.textAlign = part === 0 ? 'left' : part === 1 ? 'right' : 'center';
      brush.fillText(String(Math.round(part * drawn.timesteps)), px(part), height - BELOW + 6);
    }
    brush.textAlign = 'left';
    brush.fillText('low noise: details', LEFT, height - 14);
    brush.textAlign = 'right';
    brush.fillText('high noise: composition', width - RIGHT, height - 14);

    brush.save();
    brush.beginPath();
    brush.rect(LEFT, ABOVE - 2, width - LEFT - RIGHT, height - ABOVE - BELOW + 3);
    brush.clip();
    brush.setLineDash([4, 4]);
    brush.strokeStyle = color('--og-line-strong');
    brush.beginPath();
    brush.moveTo(LEFT, Math.round(py(1)) + 0.5);
    brush.lineTo(width - RIGHT, Math.round(py(1)) + 0.5);
    brush.stroke();
    brush.setLineDash([]);
    drawn.curves.forEach(({ density }, at) => {
      const tone = color(TONES[at % TONES.length]);
      const last = density.length - 1;
      const trace = () => {
        for (const [bin, value] of density.entries())
          brush.lineTo(px(bin === 0 ? 0 : bin === last ? 1 : (bin + 0.5) / density.length), py(value));
      };
      brush.beginPath();
      brush.moveTo(px(0), py(0));
      trace();
      brush.lineTo(px(1), py(0));
      brush.closePath();
      brush.globalAlpha = 0.13;
      brush.fillStyle = tone;
      brush.fill();
      brush.globalAlpha = 1;
      brush.beginPath();
      trace();
      brush.strokeStyle = tone;
      brush.lineWidth = 1.7;
      brush.lineJoin = 'round';
      brush.stroke();
    });
    if (pointed !== null) {
      brush.strokeStyle = color('--og-muted');
      brush.lineWidth = 1;
      const x = Math.round(px(pointed)) + 0.5;
      brush.beginPath();
      brush.moveTo(x, ABOVE);
      brush.lineTo(x, height - BELOW);
      brush.stroke();
    }
    brush.restore();
    tell(px);
  }

  function tell(px) {
    setVisible(readout, pointed !== null);
    if (pointed === null) return;
    const rows = [
      ['Timestep', format.count(pointed * drawn.timesteps)],
      ...drawn.curves.map((curve) => {
        const bin = Math.min(curve.density.length - 1, Math.floor(pointed * curve.density.length));
        return [nameOf(curve) || 'Drawn', `× ${curve.density[bin].toFixed(2)}`];
      }),
    ];
    readout.replaceChildren(...rows.map(([name, value]) => el('div', {}, el('span', { text: name }), el('b', { text: value }))));
    const x = px(pointed);
    const side = pointed > 0.5 ? x - readout.offsetWidth - 12 : x + 12;
    readout.style.transform = `translate(${Math.round(side)}px, 14px)`;
  }

  const point = (part) => {
    pointed = part === null ? null : Math.min(1, Math.max(0, part));
    paint();
  };
  canvas.addEventListener('pointermove', (event) => point((event.offsetX - LEFT) / (wrap.clientWidth - LEFT - RIGHT)));
  canvas.addEventListener('pointerleave', () => point(null));
  canvas.addEventListener('blur', () => point(null));
  canvas.addEventListener('keydown', ({ key }) => {
    const by = { ArrowLeft: -0.01, ArrowRight: 0.01 }[key];
    if (by && drawn) point((pointed ?? 0.5) + by);
    if (key === 'Escape') point(null);
  });
  new ResizeObserver(paint).observe(wrap);
  document.addEventListener('og-theme', paint);
  return node;
}
