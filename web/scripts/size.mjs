// Fails when what a browser loads before the first page is drawn weighs more than the bound, as gzip.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

// A second on a slow line; the design's bound.
const MOST = 350 * 1024;

const manifest = JSON.parse(readFileSync('dist/.vite/manifest.json', 'utf8'));
const files = new Set();
function collect(key) {
  const chunk = manifest[key];
  if (files.has(chunk.file)) return;
  files.add(chunk.file);
  for (const css of chunk.css ?? []) files.add(css);
  for (const next of chunk.imports ?? []) collect(next);
}
collect('index.html');

let total = 0;
for (const file of [...files].sort()) {
  const size = gzipSync(readFileSync(`dist/${file}`), { level: 9 }).length;
  total += size;
  process.stdout.write(`${(size / 1024).toFixed(1).padStart(8)} kB  ${file}\n`);
}
process.stdout.write(`${(total / 1024).toFixed(1).padStart(8)} kB  entry in all, at most ${MOST / 1024} kB\n`);
if (total > MOST) process.exitCode = 1;
