import { expect, test } from 'vitest';
import { readCron, spans, translate, writeCron } from './model';

test.each([
  '0 0/5 * * * ?',
  '* * * * * ?',
  '0 0 9 ? * MON-FRI',
  '0 30 2 1,15 * ?',
  '0 0 0 L * ?',
  '0 0 0 L-3 * ?',
  '0 0 0 LW * ?',
  '0 0 0 15W * ?',
  '0 0 0 ? * FRI#3',
  '0 0 0 ? * FRIL',
  '0 0 22-2 * * ?',
  '10/20 0-29 8-18/2 * 1-6 ?',
  '0 0 12 1/2 1/3 ?',
  '0 0 9 1 1 ? 2027',
  '0 0 9 * * ? 2027-2030',
  '0 0 9 ? * MON,WED,FRI',
  '0 0,20,40 9 * * ?',
])('%s is read and written back unchanged', (expression) => {
  const cron = readCron(expression, 'quartz');
  expect(cron && writeCron(cron, 'quartz')).toBe(expression);
});

test.each(['*/5 * * * *', '7-59/10 * * * *', '0 9 * * MON-FRI', '0 0 1,15 * *', '30 2 */2 * *', '0 9 1 * MON'])(
  'crontab %s keeps its meaning',
  (expression) => {
    const cron = readCron(expression, 'unix');
    const written = cron && writeCron(cron, 'unix');
    expect(written).toBe(expression);
  },
);

test('what people write in other ways means the same', () => {
  expect(readCron('0 0 9 ? * 2-6', 'quartz')?.days).toEqual({ kind: 'weekdays', values: [1, 2, 3, 4, 5] });
  expect(readCron('0 9 * * 1-5', 'unix')?.days).toEqual({ kind: 'weekdays', values: [1, 2, 3, 4, 5] });
  expect(readCron('0 9 * * 0,7', 'unix')?.days).toEqual({ kind: 'weekdays', values: [0] });
  expect(readCron('0 0 9 ? * fri-mon', 'quartz')?.days).toEqual({ kind: 'weekdays', values: [0, 1, 5, 6] });
  expect(readCron('0 0 9 ? * 6#3', 'quartz')?.days).toEqual({ kind: 'nth', weekday: 5, nth: 3 });
  expect(readCron('0 0 9 * JAN,jul ?', 'quartz')?.month).toEqual({ kind: 'chosen', values: [1, 7] });
  expect(readCron('@daily', 'unix')?.hour).toEqual({ kind: 'chosen', values: [0] });
  expect(readCron('0 0 9 * * *', 'quartz')?.days).toEqual({ kind: 'every' });
});

test('days of the week run through the weekend as one range', () => {
  const cron = readCron('0 0 9 ? * SAT,SUN,MON,THU,FRI', 'quartz');
  expect(cron && writeCron(cron, 'quartz')).toBe('0 0 9 ? * MON,THU-SUN');
});

test('what the builder cannot show stays as it was typed', () => {
  const odd = '0 5-50/7,3 9 L-3W * ? 2027/2';
  const cron = readCron(odd, 'quartz');
  expect(cron?.minute).toEqual({ kind: 'text', text: '5-50/7,3' });
  expect(cron?.days.kind).toBe('text');
  expect(cron && writeCron(cron, 'quartz')).toBe(odd);
  expect(readCron('0 0 9', 'quartz')).toBeUndefined();
  expect(readCron('0 99 9 * * ?', 'quartz')?.minute).toEqual({ kind: 'text', text: '99' });
});

test('a change of the dialect keeps the meaning where it can', () => {
  expect(translate('*/5 * * * *', 'unix', 'quartz')).toBe('0 0/5 * * * ?');
  expect(translate('0 9 * * 1-5', 'unix', 'quartz')).toBe('0 0 9 ? * MON-FRI');
  expect(translate('0 0 9 ? * MON-FRI', 'quartz', 'unix')).toBe('0 9 * * MON-FRI');
  expect(translate('30 0 9 * * ?', 'quartz', 'unix')).toBeUndefined();
  expect(translate('0 0 9 L * ?', 'quartz', 'unix')).toBeUndefined();
});

test('fields stand where they stand', () => {
  expect(spans('0  0/5 *')).toEqual([
    { from: 0, to: 1 },
    { from: 3, to: 6 },
    { from: 7, to: 8 },
  ]);
});
