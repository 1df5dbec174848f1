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
import { LogSource, logReader } from './log-source';
import { runWords } from './words';

interface LogProps {
  run: string;
  attempt: number;
  /** Grows when an attempt may have written again after its log was complete. */
  generation: string;
}

/** Lines from here on scrolling up fetches what is before. */
const NEAR_START = 40;

/** Searching loads what is before the shown part up to this: what an attempt may write. */
const SEARCH_BYTES = 10 * 1024 * 1024;

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

  // Searching means the whole log: what is before the loaded part is fetched, as far as an attempt may write.
  useEffect(() => {
    if (needle !== '' && view.start > 0 && !view.loadingBefore && view.end - view.start < SEARCH_BYTES) {
      void source.loadBefore();
    }
  }, [needle, view, source]);

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

  useEffect(() => {
    if (firstShown < NEAR_START && view.start > 0 && !follow) void source.loadBefore();
  }, [firstShown, view.start, follow, source]);

  function go(to: number) {
    if (hits.length === 0) return;
    const next = (to + hits.length) % hits.length;
    setHit(next);
    setFollow(false);
    virtualizer.scrollToIndex(hits[next] ?? 0, { align: 'center' });
  }

  function onScroll() {
    const element = scroller.current;
    if (!element) return;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 30;
    if (atEnd !== follow && needle === '') setFollow(atEnd);
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
        {needle !== '' && (
          <>
            <span className="num muted nowrap" role="status">
              {view.loadingBefore || (view.start > 0 && view.end - view.start < SEARCH_BYTES)
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
          onClick={() => setFollow(!follow)}
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
              setFollow(false);
              virtualizer.scrollToIndex(0);
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
      {view.error !== undefined && <Notice tone="orange">{say('log_interrupted')}</Notice>}
      <div
        ref={scroller}
        className={classes.scroller}
        onScroll={onScroll}
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
