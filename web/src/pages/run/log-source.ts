import { address, api, data } from '#/api/client';
import { asProblem, ProblemError } from '#/api/problem';

/** Bytes asked for at once: what the API gives at most. */
const PIECE = 256 * 1024;

/** Wait before a followed log that broke off is followed again. */
const AGAIN_MS = 700;

/** What a log is read through; tests give their own. */
export interface LogReader {
  /** The piece at `from` with the length of the whole. */
  piece(from: number): Promise<{ text: string; next_offset: number; total: number; complete: boolean }>;
  /** The bytes from `from` up to, not including, `to`. */
  range(from: number, to: number): Promise<Uint8Array>;
  /** What is written from `from` on, until the attempt is over. */
  follow(from: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Lines that hold `text` from `from` on; `next_offset` says where to go on. */
  search(text: string, from: number): Promise<{ matches: LogLine[]; next_offset?: number | null; total: number }>;
}

/** The log of one attempt over the API. */
export function logReader(run: string, attempt: number): LogReader {
  const path = (query: string) => address(`/runs/${encodeURIComponent(run)}/log?attempt=${attempt}&${query}`);
  async function answer(query: string, init?: RequestInit) {
    const response = await fetch(path(query), { credentials: 'same-origin', ...init }).catch((error) => {
      throw new ProblemError(0, { code: 'unreachable', detail: String(error) }, error);
    });
    if (!response.ok) throw new ProblemError(response.status, await response.json().catch(() => ({})));
    return response;
  }
  return {
    piece: async (from) => (await answer(`from=${from}&format=json`)).json(),
    range: async (from, to) => {
      const headers = { Range: `bytes=${from}-${to - 1}` };
      return new Uint8Array(await (await answer('format=text', { headers })).arrayBuffer());
    },
    search: (text, from) =>
      data(
        api.GET('/api/v1/runs/{run}/log/search', {
          params: { path: { run }, query: { text, attempt, from, limit: 200 } },
        }),
      ),
    async *follow(from, signal) {
      const { body } = await answer(`from=${from}&follow=true&format=text`, { signal });
      const reader = body?.getReader();
      while (reader) {
        const { done, value } = await reader.read();
        if (done) return;
        yield value;
      }
    },
  };
}

export interface LogLine {
  /** Where the line begins, in bytes: its key. */
  offset: number;
  text: string;
}

export interface LogView {
  lines: readonly LogLine[];
  /** The loaded part, in bytes. */
  start: number;
  end: number;
  total: number;
  /** Nothing more will be written. */
  complete: boolean;
  status: 'loading' | 'ready' | 'failed';
  /** More is being fetched before or after the loaded part. */
  loading: 'before' | 'after' | undefined;
  error: unknown;
}

const decoder = new TextDecoder();
const NEWLINE = 0x0a;

/**
 * One contiguous part of a log in memory, grown at both ends. A short log is loaded whole; of a long one the end comes first, since that is where the
 * trouble is, and what is before comes by scrolling or by jumping there. It never loads the whole of a huge log to show a part.
 */
export class LogSource {
  #reader: LogReader;
  #stopped = new AbortController();
  /** Ends the present following when another part is jumped to. */
  #part = new AbortController();
  #listeners = new Set<() => void>();
  #rest: Uint8Array = new Uint8Array();
  #closed: LogLine[] = [];
  #restAt = 0;
  #view: LogView = {
    lines: [],
    start: 0,
    end: 0,
    total: 0,
    complete: false,
    status: 'loading',
    loading: undefined,
    error: undefined,
  };

  constructor(reader: LogReader) {
    this.#reader = reader;
  }

  /** Loads the first look, then follows until the attempt is over or [`close`] is called. */
  async open(): Promise<void> {
    await this.#guarded(async (signal) => {
      const first = await this.#reader.piece(0);
      if (signal.aborted) return;
      if (first.next_offset >= first.total) {
        this.#begin(0);
        this.#append(new TextEncoder().encode(first.text), first.next_offset);
        this.#set({ status: 'ready', complete: first.complete });
        if (!first.complete) await this.#follow(signal);
      } else {
        await this.#loadAround(first.total, first.total, signal);
      }
    });
  }

  close() {
    this.#stopped.abort();
    this.#part.abort();
  }

  /** Shows the part around `offset` instead of the loaded one, unless it is loaded already. */
  async jump(offset: number): Promise<void> {
    const { start, end, total } = this.#view;
    if (offset >= start && offset < end) return;
    this.#part.abort();
    this.#part = new AbortController();
    await this.#guarded((signal) => this.#loadAround(offset, total, signal));
  }

  /** Shows the end, and follows it where more may come. */
  async jumpToEnd(): Promise<void> {
    if (this.#view.end >= this.#view.total) return;
    await this.jump(this.#view.total);
  }

  /** Loads the piece before the loaded part; false when there is none. */
  async loadBefore(): Promise<boolean> {
    const { start, loading, status } = this.#view;
    if (start === 0 || loading || status !== 'ready') return false;
    const { signal } = this.#part;
    this.#set({ loading: 'before' });
    try {
      const from = Math.max(0, start - PIECE);
      const bytes = await this.#reader.range(from, start);
      if (signal.aborted) return false;
      // A line that began before the piece is left for the next one, unless it is longer than a piece.
      const cut = from === 0 ? 0 : bytes.indexOf(NEWLINE) + 1;
      this.#closed = [...linesOf(bytes.subarray(cut), from + cut), ...this.#closed];
      this.#set({ start: from + cut, loading: undefined });
      return true;
    } catch (error) {
      if (!signal.aborted) this.#set({ loading: undefined, error: asProblem(error) });
      return false;
    }
  }

  /** Loads the piece after the loaded part; what is behind the end comes by itself. */
  async loadAfter(): Promise<boolean> {
    const { end, total, loading, status } = this.#view;
    if (end >= total || loading || status !== 'ready') return false;
    const { signal } = this.#part;
    this.#set({ loading: 'after' });
    try {
      const to = Math.min(total, end + PIECE);
      const bytes = await this.#reader.range(end, to);
      if (signal.aborted) return false;
      this.#append(bytes, end + bytes.length);
      this.#set({ loading: undefined });
      if (this.#view.end >= total && !this.#view.complete) void this.#guarded(() => this.#follow(signal));
      return true;
    } catch (error) {
      if (!signal.aborted) this.#set({ loading: undefined, error: asProblem(error) });
      return false;
    }
  }

  /** Lines of the whole log that hold `text`, at most 200 from `from` on. */
  search(text: string, from: number) {
    return this.#reader.search(text, from);
  }

  async #guarded(act: (signal: AbortSignal) => Promise<void>) {
    const { signal } = this.#part;
    try {
      await act(signal);
    } catch (error) {
      if (!signal.aborted) this.#set({ status: 'failed', error: asProblem(error) });
    }
  }

  /** Loads a piece with `offset` in its middle, or the last one where that is the end. */
  async #loadAround(offset: number, total: number, signal: AbortSignal) {
    this.#set({ status: 'loading', loading: undefined });
    const to = Math.min(total, Math.max(PIECE, offset + PIECE / 2));
    const from = Math.max(0, to - PIECE);
    const bytes = to > from ? await this.#reader.range(from, to) : new Uint8Array();
    if (signal.aborted) return;
    const cut = from === 0 ? 0 : bytes.indexOf(NEWLINE) + 1;
    this.#begin(from + cut);
    this.#append(bytes.subarray(cut), from + bytes.length);
    this.#set({ status: 'ready', total: Math.max(total, this.#view.end) });
    if (this.#view.end >= total && !this.#view.complete) await this.#follow(signal);
  }

  async #follow(signal: AbortSignal) {
    while (!signal.aborted) {
      try {
        for await (const bytes of this.#reader.follow(this.#view.end, signal)) {
          if (signal.aborted) return;
          this.#append(bytes, this.#view.end + bytes.length);
        }
        const now = await this.#reader.piece(this.#view.end);
        if (signal.aborted) return;
        if (now.text) this.#append(new TextEncoder().encode(now.text), now.next_offset);
        if (now.complete) {
          this.#set({ complete: true, error: undefined });
          return;
        }
      } catch (error) {
        if (signal.aborted) return;
        const problem = asProblem(error);
        if (!problem.isPassing) throw problem;
        this.#set({ error: problem });
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  #begin(at: number) {
    this.#closed = [];
    this.#rest = new Uint8Array();
    this.#restAt = at;
    this.#view = { ...this.#view, start: at, end: at };
  }

  #append(bytes: Uint8Array, end: number) {
    const joined = new Uint8Array(this.#rest.length + bytes.length);
    joined.set(this.#rest);
    joined.set(bytes, this.#rest.length);
    const cut = joined.lastIndexOf(NEWLINE) + 1;
    const closed = linesOf(joined.subarray(0, cut), this.#restAt);
    // A new array, since readers hold the old one; long logs are read in large pieces, so this is rare for them.
    if (closed.length > 0) this.#closed = [...this.#closed, ...closed];
    this.#restAt += cut;
    this.#rest = joined.slice(cut);
    this.#set({ end, total: Math.max(end, this.#view.total), error: undefined });
  }

  #set(part: Partial<LogView>) {
    if (this.#stopped.signal.aborted) return;
    const lines =
      this.#rest.length === 0
        ? this.#closed
        : [...this.#closed, { offset: this.#restAt, text: decoder.decode(this.#rest) }];
    this.#view = { ...this.#view, ...part, lines };
    for (const listener of this.#listeners) listener();
  }

  subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  view = () => this.#view;
}

function linesOf(bytes: Uint8Array, at: number): LogLine[] {
  const lines: LogLine[] = [];
  let from = 0;
  while (from < bytes.length) {
    const found = bytes.indexOf(NEWLINE, from);
    const to = found < 0 ? bytes.length : found;
    lines.push({ offset: at + from, text: decoder.decode(bytes.subarray(from, to)) });
    from = to + 1;
  }
  return lines;
}
