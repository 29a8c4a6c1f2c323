// Draw a mask, or choose a crop, on a small separate canvas: Gradio's ImageEditor would be loaded with the first view.

import { button, el, openDialog, setText, toast } from './dom.js';
import { api, request, url } from './live.js';

const LARGEST_PX = 1024; // of the canvas; the server scales a mask to the image
const STEP = 0.02; // of the crop, per press of an arrow key

const address = (images, image, what) =>
  url(`api/datasets/images/file?${new URLSearchParams({ folder: images.folder, image: image.path, what })}`);

function loaded(source) {
  return new Promise((resolve, reject) => {
    const loaded = new Image();
    loaded.onload = () => resolve(loaded);
    loaded.onerror = () => reject(new Error('The image can’t be shown.'));
    loaded.src = source;
  });
}

function sheetOf(title, ...children) {
  return el('dialog', { class: 'og-dialog og-data-draw', 'aria-label': title }, el('h2', { text: title }), ...children);
}

/** A canvas in the shape of an image, and the place of a pointer on it. */
function canvasFor(image) {
  const scale = Math.min(1, LARGEST_PX / Math.max(image.width, image.height));
  const canvas = el('canvas', { width: Math.round(image.width * scale), height: Math.round(image.height * scale) });
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
  };
  return { canvas, context: /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')), at };
}

/** Strokes on a mask: drawn with the pointer, undone one by one. */
function painting(canvas, context, at, brush, erases) {
  /** @type {ImageData[]} */
  const before = [];
  /** @type {any} */
  let last = null;
  const stroke = (from, to) => {
    context.globalCompositeOperation = erases() ? 'destination-out' : 'source-over';
    Object.assign(context, { lineCap: 'round', lineJoin: 'round', strokeStyle: '#fff', lineWidth: Number(brush.value) });
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
  };
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    before.push(context.getImageData(0, 0, canvas.width, canvas.height));
    if (before.length > 20) before.shift();
    last = at(event);
    stroke(last, last);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!last) return;
    const now = at(event);
    stroke(last, now);
    last = now;
  });
  for (const type of ['pointerup', 'pointercancel'])
    canvas.addEventListener(type, () => {
      last = null;
    });
  const fill = (opaque) => {
    before.push(context.getImageData(0, 0, canvas.width, canvas.height));
    context.globalCompositeOperation = 'source-over';
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (opaque) Object.assign(context, { fillStyle: '#fff' }).fillRect(0, 0, canvas.width, canvas.height);
  };
  const undo = () => before.length && context.putImageData(/** @type {ImageData} */ (before.pop()), 0, 0);
  return { fill, undo };
}

/** The mask as it is in the file becomes opaque where it is white. */
async function drawMask(context, canvas, source) {
  context.drawImage(await loaded(source), 0, 0, canvas.width, canvas.height);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    pixels.data[at + 3] = pixels.data[at];
    pixels.data.fill(255, at, at + 3);
  }
  context.putImageData(pixels, 0, 0);
}

/** The drawn mask as PNG: white on black. */
function maskFile(canvas) {
  const flat = el('canvas', { width: canvas.width, height: canvas.height });
  const context = /** @type {CanvasRenderingContext2D} */ (flat.getContext('2d'));
  Object.assign(context, { fillStyle: '#000' }).fillRect(0, 0, flat.width, flat.height);
  context.drawImage(canvas, 0, 0);
  return new Promise((resolve) => {
    flat.toBlob(resolve, 'image/png');
  });
}

export async function openMask({ images, image, changed }) {
  const { canvas, context, at } = canvasFor(image);
  const brush = el('input', { type: 'range', min: '4', max: '200', value: '48' });
  const eraser = el('input', { type: 'checkbox' });
  const { fill, undo } = painting(canvas, context, at, brush, () => eraser.checked);
  const problem = el('p', { class: 'og-below-problem', role: 'status' });
  const where = `api/datasets/masks?${new URLSearchParams({ folder: images.folder, image: image.path })}`;
  async function save() {
    const body = await maskFile(canvas);
    const answer = await request(url(where), {
      method: 'PUT',
      body,
      credentials: 'same-origin',
      headers: { 'Content-Type': 'image/png' },
    });
    if (!answer.ok) {
      setText(problem, (await answer.json()).error);
      return;
    }
    toast('Mask saved.');
    dialog.close();
    changed();
  }
  async function remove() {
    await api('DELETE', where);
    toast('Mask moved to the trash.');
    dialog.close();
    changed();
  }
  canvas.setAttribute('aria-label', 'Mask. The drawn areas are trained.');
  canvas.setAttribute('role', 'img');
  const dialog = sheetOf(
    `Mask of ${image.path}`,
    el('p', { text: 'Only the drawn area is trained, if masked training is on.' }),
    el('div', { class: 'og-data-canvas' }, el('img', { src: address(images, image, 'image'), alt: '' }), canvas),
    el(
      'div',
      { class: 'og-buttons' },
      el('label', { class: 'og-inline' }, 'Brush size', brush),
      el('label', { class: 'og-inline' }, eraser, 'Erase'),
      button('Fill', { onclick: () => fill(true) }),
      button('Clear', { onclick: () => fill(false) }),
      button('Undo', { icon: 'undo', onclick: undo }),
    ),
    problem,
    el(
      'div',
      { class: 'og-dialog-buttons' },
      image.masked && button('Delete mask', { onclick: remove }),
      button('Cancel', { onclick: () => dialog.close() }),
      button('Save mask', { kind: 'primary', onclick: save }),
    ),
  );
  // load the mask before the dialog opens: it would otherwise overwrite the first strokes
  if (image.masked)
    await drawMask(context, canvas, address(images, image, 'mask')).catch((error) => setText(problem, error.message));
  openDialog(dialog);
}

const limited = (value, low, high) => Math.min(high, Math.max(low, value));

/** A crop by the pointer or by four numbers, in shares of the image. */
export function openCrop({ images, image, edit }) {
  let crop = [0, 0, 1, 1]; // left, top, right, bottom
  const frame = el('div', { class: 'og-data-frame' });
  const box = el('div', { class: 'og-data-canvas' }, el('img', { src: address(images, image, 'image'), alt: '' }), frame);
  const sizes = [image.width, image.height, image.width, image.height];
  const fields = ['Left', 'Top', 'Right', 'Bottom'].map((label, side) => {
    const field = el('input', {
      type: 'number',
      min: '0',
      max: String(sizes[side]),
      step: '1',
      onchange: () => typed(side, field),
    });
    return { field, node: el('label', { class: 'og-inline' }, label, field) };
  });
  function draw() {
    const [left, top, right, bottom] = crop;
    frame.style.inset = `${top * 100}% ${(1 - right) * 100}% ${(1 - bottom) * 100}% ${left * 100}%`;
    for (const [side, { field }] of fields.entries()) field.value = String(Math.round(crop[side] * sizes[side]));
  }
  function typed(side, field) {
    crop[side] = limited(Number(field.value) / sizes[side], 0, 1);
    if (crop[0] >= crop[2] || crop[1] >= crop[3]) crop = [0, 0, 1, 1];
    draw();
  }
  const place = (event) => {
    const area = box.getBoundingClientRect();
    return [limited((event.clientX - area.left) / area.width, 0, 1), limited((event.clientY - area.top) / area.height, 0, 1)];
  };
  /** @type {any} */
  let start = null;
  box.addEventListener('pointerdown', (event) => {
    event.preventDefault();
    box.setPointerCapture(event.pointerId);
    start = place(event);
  });
  box.addEventListener('pointermove', (event) => {
    if (!start) return;
    const now = place(event);
    const [left, top] = [Math.min(start[0], now[0]), Math.min(start[1], now[1])];
    const [right, bottom] = [Math.max(start[0], now[0]), Math.max(start[1], now[1])];
    if (right - left > STEP / 2 && bottom - top > STEP / 2) crop = [left, top, right, bottom];
    draw();
  });
  box.addEventListener('pointerup', () => {
    start = null;
  });
  function save() {
    const [left, top, right, bottom] = crop.map((share, side) => Math.round(share * sizes[side]));
    dialog.close();
    edit({ crop: [left, top, Math.max(1, right - left), Math.max(1, bottom - top)] });
  }
  const dialog = sheetOf(
    `Crop ${image.path}`,
    el('p', { text: 'Drag over the image, or enter the sides in pixels. The original moves to the trash.' }),
    box,
    el(
      'div',
      { class: 'og-buttons' },
      fields.map(({ node }) => node),
    ),
    el(
      'div',
      { class: 'og-dialog-buttons' },
      button('Cancel', { onclick: () => dialog.close() }),
      button('Crop', { kind: 'primary', onclick: save }),
    ),
  );
  draw();
  openDialog(dialog);
}
