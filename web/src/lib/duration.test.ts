import { expect, test } from 'vitest';
import { durationText, formatDuration, formatTaken, parseDuration } from './duration';

test.each([
  ['3ms', 3],
  ['1s250ms', 1250],
  ['0s', 0],
  ['5m', 300_000],
  ['1h30m', 5_400_000],
  ['-2ms', -2],
])('reads %s', (text, milliseconds) => {
  expect(parseDuration(text)).toBe(milliseconds);
});

test.each(['', '12', 'soon', '3ms later', '1x'])('refuses %j', (text) => {
  expect(parseDuration(text)).toBeUndefined();
});

test.each([
  [0, '0 ms'],
  [0.25, '250 µs'],
  [3, '3 ms'],
  [999, '999 ms'],
  [1_250, '1.25 s'],
  [20_000, '20 s'],
  [90_000, '1 min 30 s'],
  [3_600_000, '1 h'],
  [90_000_000, '1 d 1 h'],
  [-2, '−2 ms'],
])('writes %d ms as %s', (milliseconds, text) => {
  expect(formatDuration(milliseconds)).toBe(text);
});

test.each([
  [0.25, '250 微秒'],
  [3, '3 毫秒'],
  [1_250, '1.25 秒'],
  [90_000, '1 分钟 30 秒'],
  [3_600_000, '1 小时'],
  [90_000_000, '1 天 1 小时'],
])('writes %d ms in Chinese as %s', (milliseconds, text) => {
  expect(formatDuration(milliseconds, 'zh')).toBe(text);
});

test('what somebody chose is written with all its units', () => {
  expect(durationText('1h30m15s')).toBe('1 h 30 min 15 s');
  expect(durationText('90s')).toBe('90 s');
  expect(durationText('1h', 'zh')).toBe('1 小时');
  expect(durationText('2 m', 'zh')).toBe('2 分钟');
  expect(durationText('soon')).toBe('soon');
});

test('what took less than the clock can tell took some time', () => {
  expect(formatTaken(0)).toBe('<1 ms');
  expect(formatTaken(7)).toBe('7 ms');
});
