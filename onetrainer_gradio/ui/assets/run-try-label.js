// What an image after a run is generated with, as text.

import { format } from './dom.js';

const KINDS = { model: 'Final model', save: 'Save', backup: 'Backup' };

/** What an image is generated with. */
export const labelOf = (cell) =>
  cell.file ? `${KINDS[cell.kind] || cell.name}, step ${format.count(cell.step)}, strength ${cell.strength}` : 'Base model';
