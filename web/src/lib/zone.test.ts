import { expect, test } from 'vitest';
import { allZones, instantOf, isZone, localOf, offsetText } from './zone';

test.each([
  ['2026-11-20T20:39:28', 'Asia/Shanghai', '2026-11-20T12:39:28.000Z'],
  ['2026-11-20T20:39', 'UTC', '2026-11-20T20:39:00.000Z'],
  ['2026-07-01T09:00:00', 'Europe/Berlin', '2026-07-01T07:00:00.000Z'],
  // Twice: the first time.
  ['2026-10-25T02:30:00', 'Europe/Berlin', '2026-10-25T00:30:00.000Z'],
  // Never: as if the clock had not been changed.
  ['2026-03-29T02:30:00', 'Europe/Berlin', '2026-03-29T01:30:00.000Z'],
  ['2026-01-01T00:00:00', 'Asia/Kathmandu', '2025-12-31T18:15:00.000Z'],
  ['2026-01-01T00:00:00', 'America/St_Johns', '2026-01-01T03:30:00.000Z'],
])('%s in %s is %s', (local, zone, instant) => {
  expect(instantOf(local, zone)?.toISOString()).toBe(instant);
});

test('a clock shows what was asked for', () => {
  expect(localOf(new Date('2026-11-20T16:00:00.250Z'), 'Asia/Shanghai')).toBe('2026-11-21T00:00:00');
  expect(offsetText(new Date('2026-07-01T00:00:00Z'), 'America/New_York')).toBe('−04:00');
  expect(offsetText(new Date('2026-07-01T00:00:00.900Z'), 'Asia/Kolkata')).toBe('+05:30');
  expect(instantOf('soon', 'UTC')).toBeUndefined();
  expect(isZone('Mars/Olympus')).toBe(false);
  expect(allZones()).toContain('UTC');
});
