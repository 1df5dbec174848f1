import { ActionIcon, Button, Loader, TextInput, Tooltip } from '@mantine/core';
import {
  IconArrowDown,
  IconArrowUp,
  IconChevronDown,
  IconChevronUp,
  IconDownload,
  IconSearch,
  IconTextWrap,
} from '@tabler/icons-react';
import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';
import { address } from '#/api/client';
import { useWords } from '#/i18n';
import { useZone } from '#/lib/preferences';
import { clock } from '#/lib/time';
import { Notice } from '#/ui/notice';
import { Failed } from '#/ui/states';
import classes from './log.module.css';
import { type LogLine, LogSource, logReader } from './log-source';
import { runWords } from './words';

interface LogProps {
  run: string;
  attempt: number;
  /** Grows when an attempt may have written again after its log was complete. */
  generation: string;
}

/** Lines that are left at either side when the next piece is fetched. */
const NEAR = 40;

/** Scrolling this long after a hand's last move is its doing: wheels glide. */
const HAND_MS = 600;

/** Logs up to this are loaded whole to be searched here; longer ones are searched by the console. */
const SEARCHED_HERE = 2 * 1024 * 1024;

/** The log of an attempt, live. */
export function Log({ run, attempt, generation }: LogProps) {
  const [source, setSource] = useState<LogSource>();
  // biome-ignore lint/correctness/useExhaustiveDependencies: another generation is another source
  useEffect(() => {
    const opened = new LogSource(logReader(run, attempt));
    setSource(opened);
    void opened.open();
    return () => opened.close();
  }, [run, attempt, generation]);
  return source && <LogPane source={source} run={run} attempt={attempt} />;
}

function LogPane({ source, run, attempt }: { source: LogSource; run: string; attempt: number }) {
  const say = useWords(runWords);
  const view = useSyncExternalStore(source.subscribe, source.view);
  const scroller = useRef<HTMLDivElement>(null);
  const [follow, setFollow] = useState(true);
  const [wrap, setWrap] = useState(true);
  const [find, setFind] = useState('');
  const [hit, setHit] = useState(0);
  const { lines } = view;

  const virtualizer = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 20,
    getItemKey: (index) => lines[index]?.offset ?? index,
    overscan: 30,
  });

  const needle = find.trim().toLowerCase();
  const hits = useMemo(
    () =>
      needle === '' ? [] : lines.flatMap((line, index) => (line.text.toLowerCase().includes(needle) ? [index] : [])),
    [lines, needle],
  );

  const searchedHere = view.total <= SEARCHED_HERE;
  const incomplete = view.start > 0 || view.end < view.total;
  useEffect(() => {
    if (needle === '' || !searchedHere || view.loading) return;
    if (view.start > 0) void source.loadBefore();
    else if (view.end < view.total) void source.loadAfter();
  }, [needle, searchedHere, view, source]);

  const count = lines.length;
  useEffect(() => {
    if (follow && count > 0 && needle === '') virtualizer.scrollToIndex(count - 1, { align: 'end' });
  }, [follow, count, needle, virtualizer]);

  const items = virtualizer.getVirtualItems();
  const firstShown = items[0]?.index ?? 0;
  const before = useRef({ count: 0, first: undefined as number | undefined });
  useEffect(() => {
    // Lines that came in front must not move those that are being read.
    const first = lines[0]?.offset;
    const last = before.current;
    if (last.first !== undefined && first !== undefined && first < last.first && !follow) {
      const added = lines.findIndex((line) => line.offset === last.first);
      if (added > 0) virtualizer.scrollToIndex(added + firstShown, { align: 'start' });
    }
    before.current = { count: lines.length, first };
  }, [lines, follow, firstShown, virtualizer]);

  const lastShown = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (firstShown < NEAR && view.start > 0 && !follow) void source.loadBefore();
    else if (lastShown > count - NEAR && view.end < view.total) void source.loadAfter();
  }, [firstShown, lastShown, count, view.start, view.end, view.total, follow, source]);

  // After a jump the line that was asked for is brought into sight.
  const [target, setTarget] = useState<number>();
  useEffect(() => {
    if (target === undefined || view.status !== 'ready') return;
    const index = lines.findIndex((line) => line.offset >= target);
    if (index < 0) return;
    setTarget(undefined);
    virtualizer.scrollToIndex(index, { align: 'center' });
  }, [target, lines, view.status, virtualizer]);

  function show(offset: number) {
    setFollow(false);
    setTarget(offset);
    void source.jump(offset);
  }

  function toEnd() {
    setFollow(true);
    void source.jumpToEnd();
  }

  function go(to: number) {
    if (hits.length === 0) return;
    const next = (to + hits.length) % hits.length;
    setHit(next);
    setFollow(false);
    virtualizer.scrollToIndex(hits[next] ?? 0, { align: 'center' });
  }

  /** When a hand was on the scroller last: lines that come and go scroll it too, and must not be taken for somebody leaving the end. */
  const touched = useRef(0);
  function onTouch() {
    touched.current = performance.now();
  }

  function onScroll() {
    const element = scroller.current;
    if (!element || performance.now() - touched.current > HAND_MS) return;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 30;
    const atLast = atEnd && view.end >= view.total;
    if (atLast !== follow && needle === '') setFollow(atLast);
  }

  if (view.status === 'failed') return <Failed error={view.error} compact />;
  const current = hits[Math.min(hit, hits.length - 1)];
  return (
    <div className={classes.pane}>
      <div className={classes.tools}>
        <TextInput
          data-filter
          aria-label={say('find')}
          placeholder={say('find')}
          leftSection={<IconSearch size={14} />}
          value={find}
          onChange={(event) => {
            setFind(event.currentTarget.value);
            setHit(0);
          }}
          onKeyDown={(event) => {
            if (event.key === 'Enter') go(event.shiftKey ? hit - 1 : hit + 1);
            if (event.key === 'Escape') {
              setFind('');
              event.currentTarget.blur();
            }
          }}
          className={classes.find}
        />
        {needle !== '' && searchedHere && (
          <>
            <span className="num muted nowrap" role="status">
              {incomplete
                ? say('finding')
                : say('hits', { at: hits.length === 0 ? 0 : Math.min(hit, hits.length - 1) + 1, count: hits.length })}
            </span>
            <ActionIcon aria-label={say('previous_hit')} onClick={() => go(hit - 1)} disabled={hits.length === 0}>
              <IconChevronUp size={16} />
            </ActionIcon>
            <ActionIcon aria-label={say('next_hit')} onClick={() => go(hit + 1)} disabled={hits.length === 0}>
              <IconChevronDown size={16} />
            </ActionIcon>
          </>
        )}
        <span className={classes.space} />
        {!view.complete && view.status === 'ready' && (
          <span className={classes.live} role="status">
            <Loader size={11} type="dots" aria-hidden /> {say('log_live')}
          </span>
        )}
        <Button
          variant={follow ? 'light' : 'default'}
          aria-pressed={follow}
          leftSection={<IconArrowDown size={14} />}
          onClick={() => (follow ? setFollow(false) : toEnd())}
        >
          {say('follow')}
        </Button>
        <Tooltip label={say('wrap')}>
          <ActionIcon
            aria-label={say('wrap')}
            aria-pressed={wrap}
            variant={wrap ? 'light' : 'subtle'}
            onClick={() => setWrap(!wrap)}
          >
            <IconTextWrap size={16} />
          </ActionIcon>
        </Tooltip>
        <Tooltip label={say('to_start')}>
          <ActionIcon
            aria-label={say('to_start')}
            onClick={() => {
              show(0);
            }}
          >
            <IconArrowUp size={16} />
          </ActionIcon>
        </Tooltip>
        <Tooltip label={say('download')}>
          <ActionIcon
            aria-label={say('download')}
            component="a"
            href={address(`/runs/${run}/log?attempt=${attempt}&follow=true&format=text`)}
            download={`carillon-${run}-${attempt}.log`}
          >
            <IconDownload size={16} />
          </ActionIcon>
        </Tooltip>
      </div>
      {needle !== '' && !searchedHere && <Found source={source} text={find.trim()} onShow={show} />}
      {view.error !== undefined && <Notice tone="orange">{say('log_interrupted')}</Notice>}
      <div
        ref={scroller}
        className={classes.scroller}
        onScroll={onScroll}
        onWheel={onTouch}
        onTouchMove={onTouch}
        onPointerDown={onTouch}
        onPointerMove={(event) => event.buttons !== 0 && onTouch()}
        onKeyDown={onTouch}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        tabIndex={0}
        role="log"
        aria-label={say('log')}
        aria-live="off"
        data-wrap={wrap}
      >
        {view.status === 'loading' ? (
          <div className={classes.note}>{say('log_loading')}</div>
        ) : count === 0 ? (
          <div className={classes.note}>{view.complete ? say('log_empty') : say('log_waiting')}</div>
        ) : (
          <div style={{ height: virtualizer.getTotalSize(), position: 'relative' }}>
            <div style={{ transform: `translateY(${items[0]?.start ?? 0}px)` }}>
              {items.map((item) => (
                <div key={item.key} ref={virtualizer.measureElement} data-index={item.index}>
                  <Line text={lines[item.index]?.text ?? ''} needle={needle} current={item.index === current} />
                </div>
              ))}
            </div>
          </div>
        )}
      </div>
    </div>
  );
}

/** What the console found in a log too long to be searched here; a line leads to its place. */
function Found({ source, text, onShow }: { source: LogSource; text: string; onShow: (offset: number) => void }) {
  const say = useWords(runWords);
  const [found, setFound] = useState<{ matches: readonly LogLine[]; next: number | undefined; busy: boolean }>({
    matches: [],
    next: 0,
    busy: true,
  });
  const asked = useRef('');
  async function look(from: number, before: readonly LogLine[]) {
    asked.current = text;
    setFound({ matches: before, next: undefined, busy: true });
    try {
      const answer = await source.search(text, from);
      if (asked.current !== text) return;
      setFound({ matches: [...before, ...answer.matches], next: answer.next_offset ?? undefined, busy: false });
    } catch {
      setFound({ matches: before, next: from, busy: false });
    }
  }
  // biome-ignore lint/correctness/useExhaustiveDependencies: another text is another search
  useEffect(() => {
    const timer = setTimeout(() => void look(0, []), 300);
    return () => clearTimeout(timer);
  }, [text, source]);
  return (
    <section className={classes.found} aria-label={say('found')}>
      <ul>
        {found.matches.map((match) => (
          <li key={match.offset}>
            <button type="button" onClick={() => onShow(match.offset)}>
              {mark(match.text, text.toLowerCase())}
            </button>
          </li>
        ))}
      </ul>
      <div className={classes.foundFoot} role="status">
        {found.busy ? say('finding') : say('found_count', { count: found.matches.length })}
        {!found.busy && found.next !== undefined && (
          <Button size="compact-xs" variant="default" onClick={() => void look(found.next ?? 0, found.matches)}>
            {say('find_more')}
          </Button>
        )}
      </div>
    </section>
  );
}

/** As the SDK writes them: time, level, message. Other lines are shown as they are. */
const LINE = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)\s+(TRACE|DEBUG|INFO|WARN|ERROR)\s(.*)$/s;

const Line = memo(function Line({ text, needle, current }: { text: string; needle: string; current: boolean }) {
  const zone = useZone();
  const match = LINE.exec(text);
  if (!match) {
    return (
      <div className={classes.line} data-current={current}>
        <span className={classes.text}>{mark(text, needle)}</span>
      </div>
    );
  }
  const [, at = '', level = '', message = ''] = match;
  return (
    <div className={classes.line} data-current={current} data-level={level}>
      <time className={classes.at} dateTime={at} title={at}>
        {clock(new Date(at), zone, true)}
      </time>
      <span className={classes.level}>{level}</span>
      <span className={classes.text}>{mark(message, needle)}</span>
    </div>
  );
});

function mark(text: string, needle: string) {
  if (needle === '') return text;
  const pieces = [];
  const lower = text.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, from)) {
    pieces.push(text.slice(from, at), <mark key={at}>{text.slice(at, at + needle.length)}</mark>);
    from = at + needle.length;
  }
  pieces.push(text.slice(from));
  return pieces;
}
