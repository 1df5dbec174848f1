import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { FullConfig } from '@playwright/test';
import { signIn } from '../start';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Three JVMs and a database on a busy machine; `cluster.sh` gives up on each part by itself, earlier. */
const START_MS = 240_000;

/** Ports from the first that `cluster.sh` uses to the last, and one more for the nginx under a path. */
const PORTS = 21;

/**
 * Starts the cluster of `make cluster` with ports and a folder of its own, and a second nginx that serves it under
 * `/carillon/`, as `deploy/nginx/carillon.conf` says how to. What the stories need is left in the environment.
 */
export default async function start(config: FullConfig) {
  const binaries = dirname(process.env.CARILLON_BIN ?? join(root, 'target/debug/carillon'));
  const folder = mkdtempSync(join(tmpdir(), 'carillon-e2e-cluster-'));
  const cluster = join(folder, 'cluster');
  const port = await freePorts();
  process.env.CLUSTER_DIR = cluster;
  process.env.BASE_PORT = String(port);
  process.env.BIN_DIR = binaries;
  let under: ChildProcess | undefined;
  const teardown = async () => {
    under?.kill('SIGTERM');
    keepLogs(cluster);
    await script('stop');
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await script('start');
    const base = `http://127.0.0.1:${port}/`;
    process.env.E2E_BASE = base;
    process.env.E2E_CONSOLE = base.replace(/\/$/, '');
    process.env.E2E_TOKEN = readFileSync(join(cluster, 'admin.token'), 'utf8').trim();
    process.env.E2E_WORKER_BIN = process.env.CARILLON_WORKER_BIN ?? join(binaries, 'samples');
    process.env.E2E_FOLDER = folder;
    process.env.E2E_SESSION = join(folder, 'session.json');
    const person = { name: 'night-shift', password: await administrator(base, 'night-shift') };
    process.env.E2E_PASSWORD = person.password;
    await signIn(config, base, person, process.env.E2E_SESSION);
    under = nginxUnderPath(cluster, port + PORTS - 1);
    process.env.E2E_UNDER_PATH = `http://127.0.0.1:${port + PORTS - 1}/carillon/`;
  } catch (error) {
    await teardown();
    throw error;
  }
  return teardown;
}

/** What the cluster's processes said, kept for whoever asks why a story failed. */
function keepLogs(cluster: string) {
  const kept = fileURLToPath(new URL('../../test-results/cluster-logs', import.meta.url));
  rmSync(kept, { recursive: true, force: true });
  mkdirSync(kept, { recursive: true });
  const logs = existsSync(cluster) ? readdirSync(cluster).filter((name) => name.endsWith('.log')) : [];
  for (const name of logs) copyFileSync(join(cluster, name), join(kept, name));
}

/** Runs a command of `tests/cluster.sh`, which reads the rest from the environment. */
export async function script(...words: string[]): Promise<string> {
  // The binary refuses settings that it does not know, and what is set for the tests is none of its.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CARILLON_')));
  const { stdout } = await promisify(execFile)(join(root, 'tests/cluster.sh'), words, { timeout: START_MS, env });
  return stdout;
}

/** A person who may do everything; the password is generated. */
async function administrator(base: string, name: string): Promise<string> {
  const answer = await fetch(`${base}api/v1/users`, {
    method: 'POST',
    headers: { authorization: `Bearer ${process.env.E2E_TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name, administrator: true }),
  });
  if (!answer.ok) throw new Error(`adding ${name}: ${answer.status} ${await answer.text()}`);
  return ((await answer.json()) as { password: string }).password;
}

/** The cluster's nginx configuration, rewritten as its comments tell whoever wants a path. */
function nginxUnderPath(cluster: string, port: number): ChildProcess {
  const text = readFileSync(join(cluster, 'nginx.conf'), 'utf8')
    .replaceAll('nginx.own.pid', 'nginx.path.pid')
    .replace(/listen \S+;/, `listen 127.0.0.1:${port};`)
    .replace(/location \/ \{\s+proxy_pass http:\/\/consoles;/, 'location /carillon/ { proxy_pass http://consoles/;')
    .replace(
      /location \/api\/v1\/events \{\s+proxy_pass http:\/\/consoles;/,
      'location /carillon/api/v1/events { proxy_pass http://consoles/api/v1/events;',
    );
  const file = join(cluster, 'nginx-under-path.conf');
  writeFileSync(file, text);
  const path = `${process.env.PATH}:/usr/sbin`;
  return spawn('nginx', ['-c', file, '-p', cluster, '-e', join(cluster, 'nginx-under-path.log')], {
    stdio: 'ignore',
    env: { ...process.env, PATH: path },
  });
}

/** The first of as many ports as the cluster needs that nobody listens on, below those that the kernel gives out. */
async function freePorts(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const first = 15_000 + Math.floor(Math.random() * 200) * 25;
    const free = await Promise.all(Array.from({ length: PORTS }, (_, at) => isFree(first + at)));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`no ${PORTS} free ports in a row`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
