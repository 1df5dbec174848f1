import { expect, test } from 'vitest';
import { chineseSentence } from './sentence-zh';

const cron = (expression: string, dialect: 'quartz' | 'unix' = 'quartz') =>
  chineseSentence({ type: 'cron', expression, dialect, time_zone: 'Asia/Shanghai' });

test('days of the week are counted as each dialect counts them', () => {
  expect(cron('0 0 9 ? * 2,4')).toBe('在 09:00，仅星期一和星期三');
  expect(cron('0 0 9 ? * MON-FRI')).toBe('在 09:00，星期一至星期五');
  expect(cron('0 9 * * 1-5', 'unix')).toBe('在 09:00，星期一至星期五');
  expect(cron('0 0 0 ? * 6#3')).toContain('第三个星期五');
});

test('a rhythm comes first, then the place in it', () => {
  expect(cron('0 0/5 * * * ?')).toBe('每 5 分钟');
  expect(cron('30 0/5 * * * ?')).toBe('每 5 分钟，在第 30 秒');
  expect(cron('30 * * * * ?')).toBe('在每分钟的第 30 秒');
  expect(cron('0 0 0/2 * * ?')).toBe('每 2 小时，整点');
  expect(cron('15 30 0/2 * * ?')).toBe('每 2 小时，在第 15 秒，在整点后的第 30 分钟');
  expect(cron('0 0 0 1/3 * ?')).toBe('在 00:00，每 3 天');
});

test('what cannot be said is left to the English sentence', () => {
  expect(cron('0 0 12 L-3W * ?')).toBeUndefined();
  expect(cron('nonsense')).toBeUndefined();
});

test('every other type has its sentence', () => {
  expect(chineseSentence({ type: 'fixed_rate', every: '10s', jitter: '1s' })).toBe('每 10 秒一次，每次最多推迟 1 秒');
  expect(chineseSentence({ type: 'api' })).toBe('仅在被触发时执行');
});
