/** What needs no browser: arithmetic of the tree, events, text from strangers, estimates. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { atWork, remaining, spent } from '../estimate.js';
import { age, bytes, clean, duration, percent } from '../format.js';
import { Layout } from '../layout.js';
import { DONE, JobModel, REUSED, RUNNING, WAITING } from '../model.js';
import { Shape } from '../shape.js';
import { EventParser } from '../stream.js';
import { ARITIES, SimJob } from './sim.mjs';

const START = 1_760_000_000_000;

/** @param {Partial<ConstructorParameters<typeof SimJob>[0]>} [more] */
const simulated = (more) => new SimJob({ seed: 1, name: 'a', segments: 40, machines: 6, start: START, failures: 0.15, ...more });

test('the tree is that of the service', () => {
  for (let segments = 1; segments < 60; segments += 1) {
    for (const leaf of [1, 2, 3, 4]) {
      for (const [second, above] of [[1, 2], [2, 3], [3, 2], [3, 3]]) {
        const shape = new Shape(segments, { leaf, internal_for_leaf: second, internal: above });
        const taken = [];
        for (let place = 0; place < shape.tasks; place += 1) {
          assert.equal(shape.place(shape.name(place)), place);
          const [from, to] = shape.children(place);
          for (let child = from; child < to; child += 1) {
            taken.push(child);
            assert.equal(shape.parent(child), place);
          }
          if (shape.level(place) > 0) assert.ok(to > from);
        }
        assert.deepEqual(taken, Array.from({ length: shape.tasks - 1 }, (_, at) => at));
        assert.ok(shape.levels >= 5, 'segments, three levels at least, and the final proof');
        assert.deepEqual(shape.covered(shape.tasks - 1), [0, segments - 1]);
      }
    }
  }
});

test('names that are no tasks have no place', () => {
  const shape = new Shape(7, ARITIES);
  for (const name of ['s7', 's-1', 's', 'n0.0', 'n1.3', 'n9.0', 'final0', '', 'S1', 's1 ', '__proto__', null]) {
    assert.equal(shape.place(/** @type {any} */ (name)), -1, String(name));
  }
  const growing = new Shape(7, undefined);
  assert.deepEqual([growing.tasks, growing.place('final'), growing.place('n1.0'), growing.parent(3)], [7, -1, -1, -1]);
  assert.ok(new Shape(5, { leaf: 0, internal_for_leaf: 2, internal: 2 }).growing);
  assert.ok(new Shape(5, { leaf: 2, internal_for_leaf: 2, internal: 1 }).growing);
});

test('a point in the drawn tree is the task that is drawn there', () => {
  for (const [segments, width] of [[1, 300], [96, 1100], [96, 330], [3330, 1100], [3330, 330]]) {
    const shape = new Shape(segments, ARITIES);
    const layout = new Layout(shape, width);
    let bottom = 0;
    for (let place = 0; place < shape.tasks; place += 1) {
      const [x, y, w, height] = layout.rect(place);
      assert.ok(x >= 0 && x + w <= width + 0.01 && w > 0, `${shape.name(place)} is inside`);
      assert.equal(layout.at(x + w / 2, y + height / 2), place);
      bottom = Math.max(bottom, y + height);
    }
    assert.ok(bottom <= layout.height + 0.01 && layout.height < 900);
  }
  const vast = new Layout(new Shape(1_000_000, ARITIES), 1000);
  assert.ok(vast.height < 4000);
});

test('a stream is cut into events wherever its text is cut', () => {
  const text = ': hello\r\nid: 3-1\nevent: a\ndata: {"x":\ndata:1}\n\nid\ndata: two\r\n\r\nretry: 5\n\ndata: last';
  const expected = [
    { id: '3-1', name: 'a', data: '{"x":\n1}' },
    { id: '', name: '', data: 'two' },
  ];
  for (let size = 1; size < text.length; size += 1) {
    const found = /** @type {any[]} */ ([]);
    const parser = new EventParser((event) => found.push(event));
    for (let at = 0; at < text.length; at += size) parser.push(text.slice(at, at + size));
    assert.deepEqual(found, expected, `in parts of ${size}`);
  }
  const parser = new EventParser(() => {});
  assert.throws(() => parser.push('x'.repeat(16 * 1024 * 1024 + 1)));
});

/** @param {JobModel} model */
const stateOf = (model) => ({
  states: [...model.states],
  counts: model.counts,
  open: [...model.open].map(([place, attempts]) => [place, attempts.map((one) => one.lane.machine)]).sort(),
  done: model.job.progress.done,
});

test('events lead to the same state as documents, even if they tell what is known', () => {
  const sim = simulated();
  sim.advance(START + 20_000);
  const model = new JobModel(structuredClone(sim.job));
  const middle = structuredClone(sim.tasks());
  model.load(middle);
  const events = structuredClone(sim.advance(START + 45_000));
  for (const event of events) model.apply(event);
  const whole = new JobModel(structuredClone(sim.job));
  whole.load(structuredClone(sim.tasks()));
  assert.deepEqual(stateOf(model), stateOf(whole));
  assert.ok(model.lanes.some((lane) => lane.left), 'a machine has left');
  // The document is newer than the events that were held back while it came.
  for (const event of events) whole.apply(event);
  assert.deepEqual(stateOf(whole), stateOf(model));
  assert.equal(whole.attemptCount, model.attemptCount);
});

test('a plan that grows keeps what its segments are', () => {
  const model = new JobModel({ id: 'x', state: 'planning', progress: { done: 0, segments: 0, reused: 0, running: 0 } });
  model.load({ segments: 0, tasks: [], machines: [], attempts: [], origin_ms: START });
  model.apply({ type: 'cut', at_ms: START, segments: 4 });
  model.apply({ type: 'joined', at_ms: START, machine: 0, name: 'a' });
  model.apply({ type: 'started', at_ms: START + 1, machine: 0, task: 's1' });
  model.apply({ type: 'accepted', at_ms: START + 9, machine: 0, task: 's1', bytes: 5, done: 1 });
  model.apply({ type: 'started', at_ms: START + 9, machine: 0, task: 's3' });
  model.apply({ type: 'cut', at_ms: START, segments: 3 });
  const again = model.apply({ type: 'planned', at_ms: START, instructions: 9, segments: 5, tasks: 12, reused: 0, arities: ARITIES, public_values: '0x' });
  assert.equal(again, false);
  assert.deepEqual([...model.states.slice(0, 5)], [WAITING, DONE, WAITING, RUNNING, WAITING]);
  assert.equal(model.shape.finalLevel, 4);
  assert.ok(model.apply({ type: 'planned', at_ms: START, instructions: 9, segments: 5, tasks: 12, reused: 2, arities: ARITIES, public_values: '0x' }), 'which are reused is asked for');
  assert.deepEqual(model.counts[0], [3, 1, 1, 0]);
});

test('a machine that leaves, or a proof of no use, opens its task again', () => {
  const model = new JobModel({ id: 'x', state: 'proving', progress: { done: 0, segments: 2, reused: 1, running: 0 } });
  model.load({
    segments: 2, arities: ARITIES, origin_ms: START, tasks: [{ task: 's0', state: 'reused' }],
    machines: [{ machine: 0, name: 'a', left: false }], attempts: [],
  });
  assert.equal(model.states[0], REUSED);
  model.apply({ type: 'started', at_ms: START + 1, machine: 0, task: 's1' });
  model.apply({ type: 'left', at_ms: START + 5, machine: 0 });
  assert.equal(model.states[1], WAITING);
  assert.equal(model.troubles[1], 1);
  model.apply({ type: 'joined', at_ms: START + 6, machine: 0, name: 'b' });
  assert.deepEqual(model.lanes.map((lane) => [lane.name, lane.left]), [['a', true], ['b', false]]);
  model.apply({ type: 'started', at_ms: START + 7, machine: 0, task: 's1' });
  model.apply({ type: 'accepted', at_ms: START + 8, machine: 0, task: 's1', bytes: 1, done: 2 });
  assert.equal(model.states[1], DONE);
  model.apply({ type: 'reopened', at_ms: START + 9, task: 's1', reason: 'damaged' });
  assert.equal(model.states[1], WAITING);
  model.apply({ type: 'accepted', at_ms: START + 9, machine: 0, task: 's99', bytes: 1, done: 2 });
});

test('proofs of an earlier run are asked for, and one of no use is made anew', () => {
  const model = new JobModel({ id: 'x', state: 'planning', progress: { done: 0, segments: 0, reused: 0, running: 0 } });
  assert.ok(model.apply({ type: 'cut', at_ms: START, segments: 4, reused: 2 }), 'which are reused is asked for');
  model.load({
    segments: 4, origin_ms: START, event: '7-20', machines: [{ machine: 0, name: 'a', left: false }], attempts: [],
    tasks: [{ task: 's0', state: 'reused' }, { task: 's1', state: 'reused' }, { task: 's2', state: 'hibernating' }],
  });
  assert.equal(model.apply({ type: 'cut', at_ms: START, segments: 5, reused: 2 }), false);
  assert.deepEqual([model.job.progress.reused, model.job.progress.done], [2, 2]);
  model.apply({ type: 'started', at_ms: START + 1, machine: 0, task: 's0' }, '7-21');
  assert.deepEqual([model.states[0], model.job.progress.done], [RUNNING, 1]);
  model.apply({ type: 'accepted', at_ms: START + 2, machine: 0, task: 's0', bytes: 1, done: 2 }, '7-22');
  assert.equal(model.job.progress.done, 2);
  model.apply({ type: 'reopened', at_ms: START + 3, task: 's0', reason: 'damaged' }, '7-23');
  assert.deepEqual([model.states[0], model.job.progress.done], [WAITING, 1]);
});

test('events that the document of the tasks has in it are passed over', () => {
  const model = new JobModel({ id: 'x', state: 'proving', progress: { done: 1, segments: 2, reused: 0, running: 0 } });
  model.load({
    segments: 2, arities: ARITIES, origin_ms: START, event: '7-20', tasks: [{ task: 's0', state: 'done', machines: [0] }],
    machines: [{ machine: 0, name: 'a', left: false }], attempts: [],
  });
  const reopened = { type: 'reopened', at_ms: START + 9, task: 's0', reason: 'damaged' };
  for (const known of ['7-20', '7-3', '6-900']) model.apply(reopened, known);
  assert.equal(model.states[0], DONE);
  model.apply({ type: 'state', at_ms: START, state: 'failed', error: { detail: 'why' } }, '7-21');
  model.apply({ type: 'state', at_ms: START, state: 'proving' }, '8-1');
  assert.equal(model.job.error, undefined);
  model.apply(reopened, '8-2');
  assert.equal(model.states[0], WAITING);
});

test('what is left is estimated, and what is late is found', () => {
  const sim = simulated({ failures: 0, machines: 10, segments: 200 });
  sim.advance(START + 60_000);
  const model = new JobModel(structuredClone(sim.job));
  model.load(structuredClone(sim.tasks()));
  const left = remaining(model, START + 60_000);
  sim.advance(START + 4_000_000);
  const truly = sim.job.ended_ms - (START + 60_000);
  assert.ok(left > truly * 0.6 && left < truly * 1.4, `${left} where it took ${truly}`);
  assert.ok(Number.isNaN(remaining(new JobModel({ ...sim.job, state: 'proving' }), START)));
  const late = atWork(model, START + 600_000);
  assert.ok(late.length > 0 && late.every((row) => row.late));
  assert.ok(!atWork(model, START + 60_000).every((row) => row.late));
});

test('idle time is what no attempt covers', () => {
  const lane = /** @type {any} */ ({ machine: 0, name: 'a', left: false, attempts: [] });
  const attempt = (/** @type {number} */ start, /** @type {number} */ end, how = 'accepted') => lane.attempts.push({ lane, place: 0, start, end, how });
  attempt(0, 10);
  attempt(5, 20, 'revoked');
  attempt(30, NaN, /** @type {any} */ (null));
  const use = spent(lane, 40);
  assert.deepEqual([use.busy, use.wasted, use.accepted, use.other, use.present, use.idle], [30, 10, 1, 1, 40, 0.25]);
});

test('text from strangers moves nothing but itself', () => {
  assert.equal(clean('a\u202Eb\u0000c\u2028d\n\te\u200F', 20), 'ab c d e');
  assert.equal(clean('x'.repeat(10_000), 10), `${'x'.repeat(9)}…`);
  assert.equal(clean('<b>', 9), '<b>');
  assert.equal(clean(undefined, 9), '');
  assert.ok(clean(`Z${'\u0301'.repeat(500)}`, 900).length <= 3);
  assert.equal(clean('\u{1F600}'.repeat(4), 4).length, 8);
});

test('numbers are as people read them', () => {
  assert.deepEqual([bytes(0), bytes(999), bytes(1000), bytes(534_636), bytes(999_950_000), bytes(NaN)], ['0 B', '999 B', '1.0 kB', '535 kB', '1.0 GB', '–']);
  assert.deepEqual([duration(0), duration(994), duration(1500), duration(59_600), duration(61_000), duration(7_260_000), duration(200_000_000)],
    ['0 ms', '994 ms', '1.5 s', '1 min 00 s', '1 min 01 s', '2 h 01 min', '2 d 7 h']);
  assert.deepEqual([age(400), age(1200), age(9900)], ['0 s', '1 s', '10 s']);
  assert.deepEqual([percent(999, 1000), percent(0, undefined), percent(12, 10)], ['99 %', '–', '100 %']);
});
