import type { QueryClient } from '@tanstack/react-query';
import { useSyncExternalStore } from 'react';
import { address } from './client';

/** The figures of one second, summed over the servers. */
export interface Stats {
  /** When the browser got them, in milliseconds since the Unix epoch. */
  at: number;
  servers: number;
  fires_per_second: number;
  succeeded_per_second: number;
  failed_per_second: number;
  running: number;
  waiting: number;
  lateness_p50_us: number;
  lateness_p99_us: number;
  lateness_max_us: number;
}

export type LiveState = 'connecting' | 'live' | 'lost';

/** Seconds of figures kept for the live charts. */
const KEPT_SECONDS = 300;

/** Changes are gathered for this long. */
const PAUSE_MS = 1_000;

/** Lists are read again at most this often, however fast runs change; lists of jobs cost more and change less. */
const GAPS_MS: Record<string, number> = { runs: 2_000, jobs: 5_000, fires: 2_000 };

/** Lists of which more pages are loaded stay as they are while one reads: anew they would be many requests, and rows would move. */
const MOST_PAGES = 2;

/** Waits between attempts to connect again after a refusal; the browser itself retries dropped connections. */
const WAITS_MS = [500, 1_000, 2_000, 5_000];

/** Which queries a change concerns: their keys begin with one of these words. */
const concerned: Record<string, string[]> = {
  servers: ['servers', 'shards', 'overview', 'handovers'],
  shards: ['shards', 'servers', 'handovers', 'groups'],
  workers: ['workers', 'servers'],
  groups: ['groups', 'shards'],
  jobs: ['jobs', 'job', 'fires'],
};

class Live {
  #stats: Stats[] = [];
  #state: LiveState = 'connecting';
  #listeners = new Set<() => void>();
  #source: EventSource | undefined;
  #failures = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #pending = new Map<string, readonly unknown[]>();
  #readAt = new Map<string, number>();
  #flush: ReturnType<typeof setTimeout> | undefined;

  /** Connects for as long as the returned function is not called. One connection serves the whole window. */
  connect(queries: QueryClient, onRefused: () => void): () => void {
    const source = new EventSource(address('/events'));
    this.#source = source;
    source.onopen = () => {
      // A connection of our own making has no Last-Event-ID: what was missed is read again.
      if (this.#failures > 0) void queries.invalidateQueries({ predicate: (query) => query.queryKey[0] !== 'session' });
      this.#failures = 0;
      this.#set('live');
    };
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) {
        // The browser connects again by itself and says which event it saw last.
        this.#set('connecting');
        return;
      }
      this.#set('lost');
      onRefused();
      const wait = WAITS_MS[Math.min(this.#failures, WAITS_MS.length - 1)];
      this.#failures += 1;
      this.#retry = setTimeout(() => {
        if (this.#source === source) this.connect(queries, onRefused);
      }, wait);
    };
    source.addEventListener('stats', (event) => {
      const stats = { at: Date.now(), ...JSON.parse(event.data) } as Stats;
      this.#stats = [...this.#stats.slice(-KEPT_SECONDS + 1), stats];
      this.#tell();
    });
    source.addEventListener('run', (event) => {
      const { run_id, job_id } = JSON.parse(event.data) as { run_id: string; job_id: number };
      this.#note(queries, ['run', run_id]);
      this.#note(queries, ['runs']);
      this.#note(queries, ['fires', String(job_id)]);
      this.#note(queries, ['jobs']);
    });
    source.addEventListener('runs', () => {
      for (const key of ['run', 'runs', 'fires', 'jobs']) this.#note(queries, [key]);
    });
    source.addEventListener('changed', (event) => {
      const { what } = JSON.parse(event.data) as { what: string };
      for (const key of concerned[what] ?? []) this.#note(queries, [key]);
    });
    source.addEventListener('reset', () => {
      void queries.invalidateQueries({ predicate: (query) => query.queryKey[0] !== 'session' });
    });
    return () => {
      clearTimeout(this.#retry);
      clearTimeout(this.#flush);
      this.#flush = undefined;
      this.#pending.clear();
      this.#source?.close();
      this.#source = undefined;
    };
  }

  #note(queries: QueryClient, key: readonly unknown[]) {
    this.#pending.set(JSON.stringify(key), key);
    this.#flush ??= setTimeout(() => {
      this.#flush = undefined;
      const now = Date.now();
      const keys = [...this.#pending.values()].filter((key) => {
        const word = String(key[0]);
        return now - (this.#readAt.get(word) ?? 0) >= (GAPS_MS[word] ?? 0);
      });
      for (const key of keys) {
        this.#pending.delete(JSON.stringify(key));
        this.#readAt.set(String(key[0]), now);
      }
      // What was read a moment ago waits for its turn.
      const [later] = this.#pending.values();
      if (later) this.#note(queries, later);
      // Hidden windows read again when they are looked at: Query does that on focus for what is stale.
      const refetchType = document.hidden ? 'none' : 'active';
      const predicate = (query: { state: { data?: unknown } }) => pagesOf(query.state.data) <= MOST_PAGES;
      for (const queryKey of keys) {
        void queries.invalidateQueries({ queryKey, refetchType, predicate }, { cancelRefetch: false });
      }
    }, PAUSE_MS);
  }

  #set(state: LiveState) {
    if (this.#state === state) return;
    this.#state = state;
    this.#tell();
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }

  subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  stats = () => this.#stats;
  state = () => this.#state;
}

function pagesOf(data: unknown): number {
  return data !== null && typeof data === 'object' && 'pages' in data && Array.isArray(data.pages)
    ? data.pages.length
    : 0;
}

export const live = new Live();

/** The figures of the last minutes, one entry a second. */
export function useStats(): Stats[] {
  return useSyncExternalStore(live.subscribe, live.stats);
}

/** Whether changes arrive by themselves. */
export function useLiveState(): LiveState {
  return useSyncExternalStore(live.subscribe, live.state);
}
