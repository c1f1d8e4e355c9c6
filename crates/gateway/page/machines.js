/** The machines of a job as a table: what the drawn timeline shows, in figures. */

import { h } from './dom.js';
import { spent } from './estimate.js';
import { clean, count, duration, NONE } from './format.js';
import { VirtualTable } from './table.js';

export class MachineTable {
  /** @param {import('./model.js').JobModel} model @param {() => number} now */
  constructor(model, now) {
    this.model = model;
    this.now = now;
    this.table = new VirtualTable({
      label: 'Machines',
      columns: [
        { key: 'name', name: 'Machine' },
        { key: 'doing', name: 'Does' },
        { key: 'accepted', name: 'Accepted', number: true },
        { key: 'busy', name: 'Busy', number: true, wide: true },
        { key: 'idle', name: 'Idle', number: true },
        { key: 'other', name: 'Without proof', number: true, wide: true },
      ],
      fill: (row, index) => this.fill(row, index),
    });
    this.element = h('div', {}, this.table.element);
  }

  refresh() {
    this.table.setCount(this.model.lanes.length);
    this.table.refresh();
  }

  /** @param {Record<string, (text: string, state?: string) => void>} row @param {number} index */
  fill(row, index) {
    const { model } = this;
    const lane = model.lanes[index];
    if (!lane) return;
    const use = spent(lane, model.job.ended_ms ?? this.now());
    const at = lane.attempts.findLast((attempt) => Number.isNaN(attempt.end));
    row.name(clean(lane.name, 24) || NONE);
    row.doing(lane.left ? 'gone' : at ? model.shape.name(at.place) : 'idle', lane.left ? 'bystander' : at ? 'proving' : 'idle');
    row.accepted(count(use.accepted));
    row.busy(duration(use.busy));
    row.idle(lane.attempts.length > 0 ? `${Math.round(use.idle * 100)} %` : NONE);
    row.other(use.other > 0 ? `${use.other}, ${duration(use.wasted)}` : NONE);
  }
}
