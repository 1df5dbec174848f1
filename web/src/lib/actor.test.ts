import { expect, test } from 'vitest';
import { actorText } from './actor';

test('an actor is said in the language of the pages', () => {
  expect(actorText('admin (token carillon dev)', 'zh')).toBe('admin（令牌 carillon dev）');
  expect(actorText('admin (token carillon dev)', 'en')).toBe('admin (token carillon dev)');
  expect(actorText('ann', 'zh')).toBe('ann');
});
