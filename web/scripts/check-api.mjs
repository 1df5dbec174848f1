// Fails when src/api/schema.d.ts is not what the committed OpenAPI document gives: run `npm run api` then.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = mkdtempSync(join(tmpdir(), 'carillon-api-'));
try {
  const fresh = join(folder, 'schema.d.ts');
  execFileSync('npx', ['openapi-typescript', '../console/openapi.json', '--output', fresh, '--alphabetize'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (readFileSync(fresh, 'utf8') !== readFileSync('src/api/schema.d.ts', 'utf8')) {
    process.stderr.write('src/api/schema.d.ts is not what console/openapi.json gives: run `npm run api`\n');
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true });
}
