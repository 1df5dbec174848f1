import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { cliTrigger, curlTrigger, quoted } from './commands';

test.each(['plain', 'two words', "it's", '$HOME `id` "x"', '{"name":"world"}', '钟声', ''])(
  'a shell reads %j back as it was',
  (text) => {
    expect(execFileSync('/bin/sh', ['-c', `printf %s ${quoted(text)}`]).toString()).toBe(text);
  },
);

test('params travel as JSON, and only where the run has its own', () => {
  expect(curlTrigger(7, { name: "o'clock" })).toContain(`-d '{"params":{"name":"o'\\''clock"}}'`);
  expect(curlTrigger(7, undefined)).not.toContain('-d');
  expect(cliTrigger(7, [1, 2])).toContain(`carillon job trigger 7 --params '[1,2]' --console `);
});
