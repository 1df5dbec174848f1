import { expect, test } from 'vitest';
import { type LogReader, LogSource } from './log-source';

const encode = (text: string) => new TextEncoder().encode(text);

/** A log in memory that is written while it is read. */
class Written implements LogReader {
  bytes: Uint8Array;
  over: boolean;
  asked: [number, number][] = [];
  #wake: () => void = () => {};

  constructor(text: string, over: boolean) {
    this.bytes = encode(text);
    this.over = over;
  }

  write(text: string, over = false) {
    const more = encode(text);
    const joined = new Uint8Array(this.bytes.length + more.length);
    joined.set(this.bytes);
    joined.set(more, this.bytes.length);
    this.bytes = joined;
    this.over = over;
    this.#wake();
  }

  async piece(from: number) {
    const piece = this.bytes.subarray(from, from + 256 * 1024);
    const next = from + piece.length;
    const total = this.bytes.length;
    return { text: new TextDecoder().decode(piece), next_offset: next, total, complete: this.over && next >= total };
  }

  async range(from: number, to: number) {
    this.asked.push([from, to]);
    return this.bytes.slice(from, to);
  }

  async search(text: string) {
    const all = new TextDecoder().decode(this.bytes);
    const offset = encode(all.slice(0, all.indexOf(text))).length;
    return { matches: [{ offset, text }], total: this.bytes.length };
  }

  async *follow(from: number) {
    let at = from;
    while (true) {
      // One byte at a time: characters and lines arrive torn.
      for (; at < this.bytes.length; at++) yield this.bytes.slice(at, at + 1);
      if (this.over) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

const texts = (source: LogSource) => source.view().lines.map((line) => line.text);

test('a short log is there at once, and complete', async () => {
  const source = new LogSource(new Written('one\ntwo\nthree', true));
  await source.open();
  expect(texts(source)).toEqual(['one', 'two', 'three']);
  expect(source.view()).toMatchObject({ complete: true, status: 'ready', start: 0, end: 13, total: 13 });
});

test('a growing log is followed to its end, torn characters and all', async () => {
  const log = new Written('first\n', false);
  const source = new LogSource(log);
  const done = source.open();
  await expect.poll(() => texts(source)).toEqual(['first']);
  log.write('响起 half');
  await expect.poll(() => texts(source)).toEqual(['first', '响起 half']);
  log.write(' whole\nlast\n', true);
  await done;
  expect(texts(source)).toEqual(['first', '响起 half whole', 'last']);
  expect(source.view()).toMatchObject({ complete: true, end: log.bytes.length });
});

test('of a long log the end comes first, whole lines only, and nothing twice', async () => {
  const lines = Array.from({ length: 40_000 }, (_, index) => `line ${index} 钟声`);
  const log = new Written(`${lines.join('\n')}\n`, true);
  const source = new LogSource(log);
  await source.open();
  expect(texts(source).at(-1)).toBe(lines.at(-1));
  expect(texts(source).length).toBeLessThan(lines.length / 2);
  expect(log.asked).toHaveLength(1);
  expect(lines).toContain(texts(source)[0]);
  while (await source.loadBefore());
  expect(texts(source)).toEqual(lines);
  const offsets = source.view().lines.map((line) => line.offset);
  expect(new Set(offsets).size).toBe(offsets.length);
});

test('one jumps into the middle of a huge log, reads on in both directions, and comes back to its growing end', async () => {
  const lines = Array.from({ length: 60_000 }, (_, index) => `line ${index} 钟声`);
  const log = new Written(`${lines.join('\n')}\n`, false);
  const source = new LogSource(log);
  void source.open();
  await expect.poll(() => source.view().status).toBe('ready');
  const { matches } = await source.search('line 20000 ', 0);
  await source.jump(matches[0]?.offset ?? 0);
  const middle = texts(source);
  expect(middle).toContain('line 20000 钟声');
  expect(middle).not.toContain(lines.at(-1));
  expect(middle.length).toBeLessThan(lines.length / 3);

  await source.loadAfter();
  await source.loadBefore();
  // The last line of a part may be torn; it is whole once the next piece is there.
  const around = texts(source).slice(0, -1);
  expect(around.length).toBeGreaterThan(middle.length * 2);
  const first = lines.indexOf(around[0] ?? '');
  expect(around).toEqual(lines.slice(first, first + around.length));

  log.write('written meanwhile\n');
  const back = source.jumpToEnd();
  await expect.poll(() => texts(source).at(-1)).toBe('written meanwhile');
  log.write('the end\n', true);
  await back;
  expect(texts(source).at(-1)).toBe('the end');
  expect(source.view().complete).toBe(true);
});

test('what the API refuses is shown', async () => {
  const source = new LogSource({
    ...new Written('', true),
    piece: () => Promise.reject(new Error('no such attempt')),
  } as unknown as LogReader);
  await source.open();
  expect(source.view()).toMatchObject({ status: 'failed' });
  expect(String(source.view().error)).toContain('no such attempt');
});
