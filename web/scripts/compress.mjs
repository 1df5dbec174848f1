// Lays a Brotli and a gzip form beside every text file of the build, so that the console sends them without work.

import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const TEXTS = /\.(css|js|json|map|svg|txt|webmanifest)$/;

/** Below this a compressed form saves less than its headers cost. */
const WORTH_IT = 1024;

function compress(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) {
      compress(path);
    } else if (TEXTS.test(name)) {
      const content = readFileSync(path);
      if (content.length < WORTH_IT) continue;
      // Quality 9 is within some percent of 11 and ten times as fast.
      const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } };
      writeFileSync(`${path}.br`, brotliCompressSync(content, quality));
      writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }));
    }
  }
}

compress('dist');
